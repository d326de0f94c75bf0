/* Products with a matrix of 4 x 4 blocks in single precision: see `solver.single`. Blocks are stored by columns. */

typedef float Four __attribute__((vector_size(16), may_alias));
typedef float Eight __attribute__((vector_size(32), may_alias));
typedef float Unaligned __attribute__((vector_size(32), may_alias, aligned(16)));
typedef int Half __attribute__((vector_size(32)));
typedef union { Eight columns; Four column[2]; } Quarters;

#define AHEAD 32 /* blocks to fetch ahead of their use */
#define SPREAD(x, m) __builtin_shuffle(x, ((Half){m, m, m, m, m + 1, m + 1, m + 1, m + 1}))

/* y = A x, or y + A x; reads `x` four numbers too far. */
void single_multiply(int rows, const int *first, const int *column, const float *value, const float *x, int add,
                     double *y)
{
    const Eight *a = (const Eight *)value;
    for (int i = 0; i < rows; ++i) {
        Eight sum[2] = {{0}};
        for (int q = first[i]; q < first[i + 1]; ++q) {
            const Eight v = *(const Unaligned *)(x + 4 * (size_t)column[q]);
            __builtin_prefetch(a + 2 * (size_t)(q + AHEAD));
            sum[0] += a[2 * (size_t)q] * SPREAD(v, 0);
            sum[1] += a[2 * (size_t)q + 1] * SPREAD(v, 2);
        }
        const Quarters of = {sum[0] + sum[1]};
        const Four made = of.column[0] + of.column[1];
        for (int c = 0; c < 4; ++c)
            y[4 * (size_t)i + c] = (add ? y[4 * (size_t)i + c] : 0.0) + made[c];
    }
}

/* y += A^T x. */
void single_multiply_transposed(int rows, const int *first, const int *column, const float *value, const float *x,
                                double *y)
{
    const Four *a = (const Four *)value;
    for (int i = 0; i < rows; ++i) {
        const Four v = *(const Four *)(x + 4 * (size_t)i);
        for (int q = first[i]; q < first[i + 1]; ++q)
            for (int c = 0; c < 4; ++c) {
                const Four made = a[4 * (size_t)q + c] * v;
                y[4 * (size_t)column[q] + c] += (made[0] + made[1]) + (made[2] + made[3]);
            }
    }
}
