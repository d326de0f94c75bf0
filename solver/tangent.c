/* The Jacobian of `terms.EQUAL_ORDER` on one tetrahedron, but for its facet terms: see `solver.tangent`.

   Unknown 4 a + c: component c (velocity 0 to 2, pressure 3) at node a. Above this text stand, from Basix:
   N nodes, PAD >= N of them in rows of VECTOR numbers, POINTS, G nodes of the geometry, DEGREE, C_INVERSE,
   WEIGHT[POINTS], PHI[POINTS][PAD], DPHI[POINTS][3][PAD], DDPHI[6][PAD],
   DGEO[POINTS][3][G], DDGEO[6][G], METRIC[3][3]; second derivatives are constant, in the order of PAIR. */

static const int PAIR[6][2] = {{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}, {2, 2}};

#define EACH(b) for (int b = 0; b < PAD; ++b)

/* A row of a table, in the registers of the machine. */
typedef double Vector __attribute__((vector_size(VECTOR * sizeof(double)), may_alias));
#define EACH_VECTOR(v) for (int v = 0; v < PAD / VECTOR; ++v)

/* What the second pass needs of a point. */
typedef struct {
    Vector phi[PAD / VECTOR], g[3][PAD / VECTOR], strong[PAD / VECTOR]; /* strong residual of a trial component */
    double W, tau, squeeze, pseudo, half_div_w, div_u;
    double u[3], U[3][3], r[3], w[3], f[3], slope[3], lsic[3];
} Point;

static double dot3(const double *a, const double *b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

/* Inverse of a matrix of three rows; returns its determinant. */
static double invert(double J[3][3], double K[3][3])
{
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j)
            K[j][i] = J[(i + 1) % 3][(j + 1) % 3] * J[(i + 2) % 3][(j + 2) % 3]
                    - J[(i + 1) % 3][(j + 2) % 3] * J[(i + 2) % 3][(j + 1) % 3];
    double det = J[0][0] * K[0][0] + J[0][1] * K[1][0] + J[0][2] * K[2][0];
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j)
            K[i][j] /= det;
    return det;
}

void tangent(double *restrict A, const double *restrict coefficients, const double *restrict constants,
             const double *restrict x, const int *restrict entity, const uint8_t *restrict permutation, void *custom)
{
    const double nu = constants[0], newton = constants[1], inverse_cfl = constants[2];
    const double *state = coefficients, *advecting = state + 4 * N, *frozen = advecting + 4 * N;
    Point points[POINTS];

    double bend[3][6] = {{0}}; /* second derivatives of the map */
    for (int m = 0; m < 3; ++m)
        for (int k = 0; k < 6; ++k)
            for (int n = 0; n < G; ++n)
                bend[m][k] += x[3 * n + m] * DDGEO[k][n];

    for (int point = 0; point < POINTS; ++point) {
        double J[3][3] = {{0}}, K[3][3]; /* K[k][i] = d X_k / d x_i */
        for (int i = 0; i < 3; ++i)
            for (int k = 0; k < 3; ++k)
                for (int n = 0; n < G; ++n)
                    J[i][k] += x[3 * n + i] * DGEO[point][k][n];
        Point *at = points + point;
        at->W = WEIGHT[point] * fabs(invert(J, K));
        double *phi = (double *)at->phi, *strong = (double *)at->strong, laplace[PAD];
        double *g[3] = {(double *)at->g[0], (double *)at->g[1], (double *)at->g[2]};
        EACH(b) phi[b] = PHI[point][b];
        for (int i = 0; i < 3; ++i)
            EACH(b) g[i][b] = DPHI[point][0][b] * K[0][i] + DPHI[point][1][b] * K[1][i] + DPHI[point][2][b] * K[2][i];
        double M[6], turn[3] = {0};
        for (int k = 0; k < 6; ++k) {
            M[k] = (PAIR[k][0] == PAIR[k][1] ? 1.0 : 2.0) * dot3(K[PAIR[k][0]], K[PAIR[k][1]]);
            for (int m = 0; m < 3; ++m)
                turn[m] += M[k] * bend[m][k];
        }
        EACH(b) laplace[b] = 0.0; /* of linear elements it is left out, in the residual, too */
        if (DEGREE > 1) EACH(b) {
            laplace[b] = -(g[0][b] * turn[0] + g[1][b] * turn[1] + g[2][b] * turn[2]);
            for (int k = 0; k < 6; ++k)
                laplace[b] += M[k] * DDPHI[k][b];
        }

        /* u, grad u, grad p, the strong residual r; w, div w; f */
        double *u = at->u, (*U)[3] = at->U, *r = at->r, *w = at->w, *f = at->f, div_w = 0.0;
        for (int i = 0; i < 3; ++i) {
            u[i] = w[i] = f[i] = r[i] = 0.0;
            U[i][0] = U[i][1] = U[i][2] = 0.0;
        }
        for (int b = 0; b < N; ++b)
            for (int i = 0; i < 3; ++i) {
                u[i] += phi[b] * state[4 * b + i];
                w[i] += phi[b] * advecting[4 * b + i];
                f[i] += phi[b] * frozen[4 * b + i];
                div_w += g[i][b] * advecting[4 * b + i];
                r[i] += g[i][b] * state[4 * b + 3] - nu * laplace[b] * state[4 * b + i];
                for (int j = 0; j < 3; ++j)
                    U[i][j] += g[j][b] * state[4 * b + i];
            }
        at->div_u = U[0][0] + U[1][1] + U[2][2];
        at->half_div_w = 0.5 * div_w;
        for (int i = 0; i < 3; ++i)
            r[i] += dot3(U[i], w);

        /* the metric, tau and its derivative with respect to f */
        double metric[3][3] = {{0}}, Gf[3], square = 0.0;
        for (int i = 0; i < 3; ++i)
            for (int j = 0; j < 3; ++j) {
                for (int k = 0; k < 3; ++k)
                    for (int l = 0; l < 3; ++l)
                        metric[i][j] += 4.0 * DEGREE * DEGREE * K[k][i] * METRIC[k][l] * K[l][j];
                square += metric[i][j] * metric[i][j];
            }
        for (int i = 0; i < 3; ++i)
            Gf[i] = dot3(metric[i], f);
        const double trace = metric[0][0] + metric[1][1] + metric[2][2], advective = dot3(f, Gf);
        at->tau = 1.0 / sqrt(advective + 0.25 * C_INVERSE * nu * nu * square);
        at->squeeze = 1.0 / (at->tau * trace);
        at->pseudo = inverse_cfl * sqrt(advective + 1e-12);
        for (int i = 0; i < 3; ++i) {
            at->slope[i] = -at->tau * at->tau * at->tau * Gf[i];
            at->lsic[i] = at->div_u * at->tau * Gf[i] / trace;
        }
        EACH(b) strong[b] = w[0] * g[0][b] + w[1] * g[1][b] + w[2] * g[2][b] - nu * laplace[b];
    }

    for (int a = 0; a < N; ++a) {
        double c[16][POINTS], d[16][POINTS], more[3][POINTS], same[5][POINTS];
        for (int k = 0; k < POINTS; ++k) {
            const Point *at = points + k;
            const double W = at->W, tau = at->tau, phi = ((const double *)at->phi)[a];
            double ga[3];
            for (int i = 0; i < 3; ++i)
                ga[i] = ((const double *)at->g[i])[a];
            const double along = dot3(ga, at->f), both = phi + tau * along;
            same[3][k] = W * (at->half_div_w + at->pseudo) * phi;
            same[4][k] = W * tau * along;
            for (int i = 0; i < 3; ++i) {
                same[i][k] = W * (at->w[i] * phi + nu * ga[i]);
                for (int j = 0; j < 3; ++j) {
                    c[4 * i + j][k] = W * newton
                        * (at->U[i][j] * both + at->slope[j] * at->r[i] * along + tau * at->r[i] * ga[j]
                           + at->lsic[j] * ga[i]);
                    d[4 * i + j][k] = W * (at->squeeze * ga[i] + newton * 0.5 * at->u[i] * phi);
                }
                c[4 * i + 3][k] = -W * ga[i];
                d[4 * i + 3][k] = W * tau * along;
                const double column[3] = {at->U[0][i], at->U[1][i], at->U[2][i]};
                c[12 + i][k] = W * newton * (tau * dot3(column, ga) + at->slope[i] * dot3(at->r, ga));
                d[12 + i][k] = W * phi;
                more[i][k] = W * tau * ga[i];
            }
        }
        Vector block[16][PAD / VECTOR] = {{{0}}}, every[PAD / VECTOR] = {{0}}; /* added to each component's own */
        for (int k = 0; k < POINTS; ++k)
            EACH_VECTOR(v) every[v] += same[3][k] * points[k].phi[v] + same[0][k] * points[k].g[0][v]
                + same[1][k] * points[k].g[1][v] + same[2][k] * points[k].g[2][v] + same[4][k] * points[k].strong[v];
        for (int n = 0; n < 15; ++n) {
            const int i = n / 4, j = n % 4, of = j < 3 ? j : i;
            Vector sum[PAD / VECTOR] = {{0}};
            for (int k = 0; k < POINTS; ++k)
                EACH_VECTOR(v) sum[v] += c[n][k] * points[k].phi[v] + d[n][k] * points[k].g[of][v];
            if (i == 3)
                for (int k = 0; k < POINTS; ++k)
                    EACH_VECTOR(v) sum[v] += more[j][k] * points[k].strong[v];
            if (i == j)
                EACH_VECTOR(v) sum[v] += every[v];
            EACH_VECTOR(v) block[n][v] = sum[v];
        }
        for (int k = 0; k < POINTS; ++k)
            EACH_VECTOR(v) block[15][v] += more[0][k] * points[k].g[0][v] + more[1][k] * points[k].g[1][v]
                + more[2][k] * points[k].g[2][v];
        for (int i = 0; i < 4; ++i)
            for (int b = 0; b < N; ++b)
                for (int j = 0; j < 4; ++j)
                    A[(4 * a + i) * 4 * N + 4 * b + j] += ((const double *)block[4 * i + j])[b];
    }
}
