/* Incomplete factors of a matrix of 4 x 4 blocks in single precision: see `solver.ilu`.

   Every block is stored by columns; blocks stand as the two sweeps read them. First the rows of L, without its unit
   diagonal: row i from `low[i]` to `low[i + 1]`. Then those of U, the last one first: row i from `up[i + 1]` to `up[i]`,
   the inverse of its diagonal block in front. `index` is the column of each block, ascending in a row; `natural[i]` is
   the row of the matrix that is eliminated as the i-th, `place` its inverse. */

typedef float Four __attribute__((vector_size(16), may_alias));
typedef float Block __attribute__((vector_size(64), may_alias));
typedef int Lanes __attribute__((vector_size(64)));

#define COLUMN(a, m) __builtin_shuffle(a, ((Lanes){4 * m, 4 * m + 1, 4 * m + 2, 4 * m + 3, 4 * m, 4 * m + 1, 4 * m + 2, \
    4 * m + 3, 4 * m, 4 * m + 1, 4 * m + 2, 4 * m + 3, 4 * m, 4 * m + 1, 4 * m + 2, 4 * m + 3}))
#define ROW(b, m) __builtin_shuffle(b, ((Lanes){m, m, m, m, 4 + m, 4 + m, 4 + m, 4 + m, 8 + m, 8 + m, 8 + m, 8 + m, \
    12 + m, 12 + m, 12 + m, 12 + m}))

static inline Block times(Block a, Block b)
{
    return COLUMN(a, 0) * ROW(b, 0) + COLUMN(a, 1) * ROW(b, 1) + COLUMN(a, 2) * ROW(b, 2) + COLUMN(a, 3) * ROW(b, 3);
}

/* A block (its columns) times a vector. */
static inline Four by(const Four *a, const float *x) { return (a[0] * x[0] + a[1] * x[1]) + (a[2] * x[2] + a[3] * x[3]); }

/* Sum of blocks `from` to `to` times the vectors of their columns. */
static inline Four row(const Four *a, const int *index, int from, int to, const float *x)
{
    Four sum[4] = {{0}};
    for (int q = from; q < to; ++q)
        for (int c = 0; c < 4; ++c)
            sum[c] += a[4 * (size_t)q + c] * x[4 * index[q] + c];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* The transposed block times a vector. */
static inline Four by_transposed(Block a, Four x)
{
    Four y;
    for (int c = 0; c < 4; ++c)
        y[c] = a[4 * c] * x[0] + a[4 * c + 1] * x[1] + a[4 * c + 2] * x[2] + a[4 * c + 3] * x[3];
    return y;
}

/* Invert a block in place, by elimination with row exchanges in double precision; 0 where it is singular. */
static int invert(float *block)
{
    double a[4][8] = {{0}};
    for (int r = 0; r < 4; ++r) {
        for (int c = 0; c < 4; ++c)
            a[r][c] = block[4 * c + r];
        a[r][4 + r] = 1.0;
    }
    for (int c = 0; c < 4; ++c) {
        int best = c;
        for (int r = c + 1; r < 4; ++r)
            if (fabs(a[r][c]) > fabs(a[best][c]))
                best = r;
        if (!(fabs(a[best][c]) > 0.0))
            return 0;
        for (int k = 0; k < 8; ++k) {
            double swap = a[c][k];
            a[c][k] = a[best][k];
            a[best][k] = swap;
        }
        double pivot = 1.0 / a[c][c];
        for (int k = 0; k < 8; ++k)
            a[c][k] *= pivot;
        for (int r = 0; r < 4; ++r) {
            double factor = a[r][c];
            if (r != c)
                for (int k = 0; k < 8; ++k)
                    a[r][k] -= factor * a[c][k];
        }
    }
    for (int r = 0; r < 4; ++r)
        for (int c = 0; c < 4; ++c)
            block[4 * c + r] = (float)a[r][4 + c];
    return 1;
}

/* Factorise a matrix (`first`, `column`, `value`); `where` has a number for every row, -1 before and after.
   Returns how many diagonal blocks were singular (and are taken for the identity). */
int ilu_factor(int n, const int *low, const int *up, const int *index, const int *natural, const int *place,
               const int *first, const int *column, const double *value, int *where, float *factors)
{
    Block *F = (Block *)factors;
    int singular = 0;
    for (int i = 0; i < n; ++i) {
        const int range[2][2] = {{low[i], low[i + 1]}, {up[i + 1], up[i]}};
        for (int part = 0; part < 2; ++part)
            for (int q = range[part][0]; q < range[part][1]; ++q) {
                where[index[q]] = q;
                F[q] = (Block){0};
            }
        for (int s = first[natural[i]]; s < first[natural[i] + 1]; ++s) {
            float *to = factors + 16 * (size_t)where[place[column[s]]];
            for (int k = 0; k < 16; ++k)
                to[k] = (float)value[16 * (size_t)s + k];
        }
        for (int q = low[i]; q < low[i + 1]; ++q) {
            int k = index[q];
            Block l = times(F[q], F[up[k + 1]]), l0 = COLUMN(l, 0), l1 = COLUMN(l, 1), l2 = COLUMN(l, 2),
                  l3 = COLUMN(l, 3);
            F[q] = l;
            for (int s = up[k + 1] + 1; s < up[k]; ++s) {
                int to = where[index[s]];
                if (to >= 0)
                    F[to] -= l0 * ROW(F[s], 0) + l1 * ROW(F[s], 1) + l2 * ROW(F[s], 2) + l3 * ROW(F[s], 3);
            }
        }
        if (!invert((float *)(F + up[i + 1]))) {
            F[up[i + 1]] = (Block){1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
            ++singular;
        }
        for (int part = 0; part < 2; ++part)
            for (int q = range[part][0]; q < range[part][1]; ++q)
                where[index[q]] = -1;
    }
    return singular;
}

/* y = (L U)^-1 x; `work` has four numbers a row. */
void ilu_solve(int n, const int *low, const int *up, const int *index, const int *natural,
               const float *factors, const double *x, double *y, float *work)
{
    const Four *F = (const Four *)factors;
    Four *w = (Four *)work;
    for (int i = 0; i < n; ++i) {
        const double *b = x + 4 * (size_t)natural[i];
        w[i] = (Four){(float)b[0], (float)b[1], (float)b[2], (float)b[3]} - row(F, index, low[i], low[i + 1], work);
    }
    for (int i = n - 1; i >= 0; --i) {
        w[i] -= row(F, index, up[i + 1] + 1, up[i], work);
        w[i] = by(F + 4 * (size_t)up[i + 1], work + 4 * i);
        for (int c = 0; c < 4; ++c)
            y[4 * (size_t)natural[i] + c] = w[i][c];
    }
}

/* y = (L U)^-T x. */
void ilu_solve_transposed(int n, const int *low, const int *up, const int *index, const int *natural,
                          const float *factors, const double *x, double *y, float *work)
{
    const Block *F = (const Block *)factors;
    Four *w = (Four *)work;
    for (int i = 0; i < n; ++i)
        for (int c = 0; c < 4; ++c)
            work[4 * i + c] = (float)x[4 * (size_t)natural[i] + c];
    for (int i = 0; i < n; ++i) {
        w[i] = by_transposed(F[up[i + 1]], w[i]);
        for (int q = up[i + 1] + 1; q < up[i]; ++q)
            w[index[q]] -= by_transposed(F[q], w[i]);
    }
    for (int i = n - 1; i >= 0; --i) {
        for (int q = low[i]; q < low[i + 1]; ++q)
            w[index[q]] -= by_transposed(F[q], w[i]);
        for (int c = 0; c < 4; ++c)
            y[4 * (size_t)natural[i] + c] = w[i][c];
    }
}
