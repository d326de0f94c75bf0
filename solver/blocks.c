/* Blocks of 4 x 4 of a matrix in compressed rows, each stored column by column: see `solver.blocks`. */

/* Where the block (row, column) of each of n x n pairs of a cell's nodes stands; the first fault's cell, or -1. */
int blocks_locate(int count, int n, const int *cell, const int *nodes, const int *first, const int *column, int *where)
{
    for (int k = 0; k < count; ++k) {
        const int *node = nodes + (size_t)n * cell[k];
        for (int a = 0; a < n; ++a)
            for (int b = 0; b < n; ++b) {
                int low = first[node[a]], high = first[node[a] + 1];
                while (high - low > 1) {
                    const int middle = low + (high - low) / 2;
                    if (column[middle] <= node[b]) low = middle; else high = middle;
                }
                if (low == first[node[a] + 1] || column[low] != node[b])
                    return cell[k];
                where[((size_t)k * n + a) * n + b] = low;
            }
    }
    return -1;
}

/* y += A x over some blocks, block by block; with `turned`, y += A^T x. */
void blocks_multiply(int count, const int *place, const int *row, const int *column, int turned, const double *value,
                     const double *x, double *y)
{
    for (int k = 0; k < count; ++k) {
        const double *block = value + 16 * (size_t)place[k];
        for (int j = 0; j < 4; ++j)
            for (int i = 0; i < 4; ++i)
                if (turned) y[4 * column[k] + j] += block[4 * j + i] * x[4 * row[k] + i];
                else y[4 * row[k] + i] += block[4 * j + i] * x[4 * column[k] + j];
    }
}

/* Make rows (1), columns (2) or both (3) of the velocity of some blocks zero; of diagonal ones (4 more) the identity. */
void blocks_fix(int count, const int *place, const uint8_t *kind, double *value)
{
    for (int k = 0; k < count; ++k) {
        double *block = value + 16 * (size_t)place[k];
        for (int j = 0; j < 4; ++j)
            for (int i = 0; i < 4; ++i)
                if ((kind[k] & 1 && i < 3) || (kind[k] & 2 && j < 3))
                    block[4 * j + i] = (kind[k] & 4 && i == j) ? 1.0 : 0.0;
    }
}
