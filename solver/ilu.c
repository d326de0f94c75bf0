/* Incomplete factors of a matrix of 4 x 4 blocks, made in single precision and kept in half of it: see `solver.ilu`.

   Every block is stored by columns; blocks stand as the two sweeps read them. First the rows of L, without its unit
   diagonal: row i from `low[i]` to `low[i + 1]`. Then those of U, the last one first: row i from `up[i + 1]` to `up[i]`,
   the inverse of its diagonal block in front. `index` is the column of each block, ascending in a row; `natural[i]` is
   the row of the matrix that is eliminated as the i-th, `place` its inverse. A number is kept as the upper half of a
   float (bfloat16): the range of a float, eight significant bits. A word holds two: of the block's first two columns in
   its lower half, of the other two in its upper one. */

typedef float Four __attribute__((vector_size(16), may_alias));
typedef float Eight __attribute__((vector_size(32), may_alias));
typedef float Unaligned __attribute__((vector_size(32), may_alias, aligned(16)));
typedef uint32_t Kept __attribute__((vector_size(32), may_alias));
typedef int Half __attribute__((vector_size(32)));
typedef union { Eight columns; Four column[2]; } Quarters;
typedef struct { Eight columns[2]; } Block;

#define AHEAD 64 /* blocks to fetch ahead of their use */
#define BOTH(a, m) __builtin_shuffle(a, ((Half){m, m + 1, m + 2, m + 3, m, m + 1, m + 2, m + 3}))
#define ROW(b, m) __builtin_shuffle(b, ((Half){m, m, m, m, 4 + m, 4 + m, 4 + m, 4 + m}))
#define SPREAD(x, m) __builtin_shuffle(x, ((Half){m, m, m, m, m + 1, m + 1, m + 1, m + 1}))

/* A block, each of its columns twice. */
typedef struct { Eight column[4]; } Factor;
static inline Factor factor(Block a)
{
    return (Factor){{BOTH(a.columns[0], 0), BOTH(a.columns[0], 4), BOTH(a.columns[1], 0), BOTH(a.columns[1], 4)}};
}

/* A block times two columns of another. */
static inline Eight times(Factor a, Eight b)
{
    return (a.column[0] * ROW(b, 0) + a.column[1] * ROW(b, 1)) + (a.column[2] * ROW(b, 2) + a.column[3] * ROW(b, 3));
}

static inline Eight first_columns(Kept a) { return (Eight)(a << 16); }
static inline Eight last_columns(Kept a) { return (Eight)(a & 0xffff0000u); }
static inline Block widened(Kept a) { return (Block){{first_columns(a), last_columns(a)}}; }

/* To the nearest, ties to even. */
static inline Kept rounded(Eight a) { return (Kept)a + 0x7fff + (((Kept)a >> 16) & 1); }
static inline Kept narrowed(Block a)
{
    return rounded(a.columns[0]) >> 16 | (rounded(a.columns[1]) & 0xffff0000u);
}

/* Sum of blocks `from` to `to` times the vectors of their columns; reads `x` four numbers too far. */
static inline Four row(const Kept *a, const int *index, int from, int to, const float *x)
{
    Eight sum[2] = {{0}};
    for (int q = from; q < to; ++q) {
        const Eight v = *(const Unaligned *)(x + 4 * (size_t)index[q]);
        __builtin_prefetch(a + q + AHEAD);
        sum[0] += first_columns(a[q]) * SPREAD(v, 0);
        sum[1] += last_columns(a[q]) * SPREAD(v, 2);
    }
    const Quarters of = {sum[0] + sum[1]};
    return of.column[0] + of.column[1];
}

/* A block times a vector. */
static inline Four by(Block a, Four x)
{
    const Quarters first = {a.columns[0]}, last = {a.columns[1]};
    return (first.column[0] * x[0] + first.column[1] * x[1]) + (last.column[0] * x[2] + last.column[1] * x[3]);
}

/* The transposed block times a vector. */
static inline Four by_transposed(Block a, Four x)
{
    Four y;
    for (int c = 0; c < 4; ++c) {
        const Eight two = a.columns[c / 2];
        const int m = 4 * (c % 2);
        y[c] = two[m] * x[0] + two[m + 1] * x[1] + two[m + 2] * x[2] + two[m + 3] * x[3];
    }
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

/* Factorise a matrix (`first`, `column`, `value`). `where` has a number for every row, -1 before and after; `work` holds
   the blocks of a row of the factors while it is made.
   Returns how many diagonal blocks were singular (and are taken for the identity). */
int ilu_factor(int n, const int *low, const int *up, const int *index, const int *natural, const int *place,
               const int *first, const int *column, const double *value, int *where, float *work, uint32_t *factors)
{
    Kept *F = (Kept *)factors;
    Block *W = (Block *)work;
    int singular = 0;
    for (int i = 0; i < n; ++i) {
        const int from[2] = {low[i], up[i + 1]}, lower = low[i + 1] - low[i], count[2] = {lower, up[i] - up[i + 1]};
        for (int part = 0, t = 0; part < 2; ++part)
            for (int q = from[part]; q < from[part] + count[part]; ++q, ++t) {
                where[index[q]] = t;
                W[t] = (Block){{{0}}};
            }
        for (int s = first[natural[i]]; s < first[natural[i] + 1]; ++s) {
            float *to = work + 16 * where[place[column[s]]];
            for (int k = 0; k < 16; ++k)
                to[k] = (float)value[16 * (size_t)s + k];
        }
        for (int t = 0; t < lower; ++t) {
            const int k = index[low[i] + t];
            const Factor w = factor(W[t]);
            const Block pivot = widened(F[up[k + 1]]), l = {{times(w, pivot.columns[0]), times(w, pivot.columns[1])}};
            const Factor eliminated = factor(l);
            W[t] = l;
            for (int s = up[k + 1] + 1; s < up[k]; ++s) {
                const int to = where[index[s]];
                if (to >= 0) {
                    W[to].columns[0] -= times(eliminated, first_columns(F[s]));
                    W[to].columns[1] -= times(eliminated, last_columns(F[s]));
                }
            }
        }
        if (!invert((float *)(W + lower))) {
            W[lower] = (Block){{{1, 0, 0, 0, 0, 1, 0, 0}, {0, 0, 1, 0, 0, 0, 0, 1}}};
            ++singular;
        }
        for (int part = 0, t = 0; part < 2; ++part)
            for (int q = from[part]; q < from[part] + count[part]; ++q, ++t) {
                F[q] = narrowed(W[t]);
                where[index[q]] = -1;
            }
    }
    return singular;
}

/* y = (L U)^-1 x; `work` has four numbers a row and four more. */
void ilu_solve(int n, const int *low, const int *up, const int *index, const int *natural,
               const uint32_t *factors, const double *x, double *y, float *work)
{
    const Kept *F = (const Kept *)factors;
    Four *w = (Four *)work;
    for (int i = 0; i < n; ++i) {
        const double *b = x + 4 * (size_t)natural[i];
        w[i] = (Four){(float)b[0], (float)b[1], (float)b[2], (float)b[3]} - row(F, index, low[i], low[i + 1], work);
    }
    for (int i = n - 1; i >= 0; --i) {
        w[i] = by(widened(F[up[i + 1]]), w[i] - row(F, index, up[i + 1] + 1, up[i], work));
        for (int c = 0; c < 4; ++c)
            y[4 * (size_t)natural[i] + c] = w[i][c];
    }
}

/* y = (L U)^-T x. */
void ilu_solve_transposed(int n, const int *low, const int *up, const int *index, const int *natural,
                          const uint32_t *factors, const double *x, double *y, float *work)
{
    const Kept *F = (const Kept *)factors;
    Four *w = (Four *)work;
    for (int i = 0; i < n; ++i)
        for (int c = 0; c < 4; ++c)
            work[4 * i + c] = (float)x[4 * (size_t)natural[i] + c];
    for (int i = 0; i < n; ++i) {
        w[i] = by_transposed(widened(F[up[i + 1]]), w[i]);
        for (int q = up[i + 1] + 1; q < up[i]; ++q)
            w[index[q]] -= by_transposed(widened(F[q]), w[i]);
    }
    for (int i = n - 1; i >= 0; --i) {
        for (int q = low[i]; q < low[i + 1]; ++q)
            w[index[q]] -= by_transposed(widened(F[q]), w[i]);
        for (int c = 0; c < 4; ++c)
            y[4 * (size_t)natural[i] + c] = w[i][c];
    }
}
