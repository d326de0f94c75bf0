/* `terms.EQUAL_ORDER` on one tetrahedron, but for its facet terms: the residual and its Jacobian; see `solver.equal_order`.

   Unknown 4 a + c: component c (velocity 0 to 2, pressure 3) at node a. Above this text stand, from Basix:
   N nodes, PAD >= N of them in rows of VECTOR numbers, POINTS, G nodes of the geometry, DEGREE, C_INVERSE,
   WEIGHT[POINTS], PHI[POINTS][PAD], DPHI[POINTS][3][PAD], DDPHI[6][PAD],
   DGEO[POINTS][3][G], DDGEO[6][G], METRIC[3][3]; second derivatives are constant, in the order of PAIR. */

static const int PAIR[6][2] = {{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}, {2, 2}};

#define EACH(b) for (int b = 0; b < PAD; ++b)

/* A row of a table, and the unknowns of a node, in the registers of the machine. */
typedef double Vector __attribute__((vector_size(VECTOR * sizeof(double)), may_alias));
typedef double Node __attribute__((vector_size(4 * sizeof(double)), aligned(sizeof(double)), may_alias));
#define EACH_VECTOR(v) for (int v = 0; v < PAD / VECTOR; ++v)

/* The state, the equations' coefficients and the shape functions at a point of the rule. */
typedef struct {
    Vector phi[PAD / VECTOR], g[3][PAD / VECTOR], strong[PAD / VECTOR]; /* strong residual of a trial component */
    double W, tau, squeeze, pseudo, half_div_w, div_u, p;
    double u[3], U[3][3], a[3], r[3], w[3], f[3], slope[3], lsic[3];
} Point;

static double dot3(const double *a, const double *b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

/* Inverse of the matrix of columns J; returns its determinant. */
static double invert(const Node J[3], double K[3][3])
{
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j)
            K[j][i] = J[(j + 1) % 3][(i + 1) % 3] * J[(j + 2) % 3][(i + 2) % 3]
                    - J[(j + 2) % 3][(i + 1) % 3] * J[(j + 1) % 3][(i + 2) % 3];
    double det = J[0][0] * K[0][0] + J[1][0] * K[1][0] + J[2][0] * K[2][0];
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j)
            K[i][j] /= det;
    return det;
}

/* The metric of `terms.metric` from K[k][i] = d X_k / d x_i; returns the sum of its squares. */
static double element_metric(double K[3][3], double metric[3][3])
{
    double EK[3][3], square = 0.0;
    for (int k = 0; k < 3; ++k)
        for (int i = 0; i < 3; ++i)
            EK[k][i] = METRIC[k][0] * K[0][i] + METRIC[k][1] * K[1][i] + METRIC[k][2] * K[2][i];
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) {
            metric[i][j] = 4.0 * DEGREE * DEGREE * (K[0][i] * EK[0][j] + K[1][i] * EK[1][j] + K[2][i] * EK[2][j]);
            square += metric[i][j] * metric[i][j];
        }
    return square;
}

/* All points of a tetrahedron. Constants: viscosity, Newton's switch, inverse CFL number, 1 / dt (zero: steady);
   coefficients: state, advecting velocity, velocity in tau, history h of the acceleration (3/2 u - h) / dt. */
static void evaluate(Point *restrict points, const double *restrict coefficients, const double *restrict constants,
                     const double *restrict x)
{
    const double nu = constants[0], inverse_cfl = constants[2], rate = constants[3];
    const Node *state = (const Node *)coefficients, *advecting = state + N, *frozen = advecting + N;
    const Node *history = frozen + N;

    Node corner[G], bend[6] = {{0}}; /* the geometry's nodes; second derivatives of the map */
    for (int n = 0; n < G; ++n) {
        corner[n] = (Node){x[3 * n], x[3 * n + 1], x[3 * n + 2], 0.0};
        for (int k = 0; k < 6; ++k)
            bend[k] += DDGEO[k][n] * corner[n];
    }
    for (int point = 0; point < POINTS; ++point) {
        Node J[3] = {{0}}; /* J[k][i] = d x_i / d X_k */
        double K[3][3];
        for (int n = 0; n < G; ++n)
            for (int k = 0; k < 3; ++k)
                J[k] += DGEO[point][k][n] * corner[n];
        Point *at = points + point;
        at->W = WEIGHT[point] * fabs(invert(J, K));
        double laplace[PAD] = {0}, *strong = (double *)at->strong;
        double *phi = (double *)at->phi, *g[3] = {(double *)at->g[0], (double *)at->g[1], (double *)at->g[2]};
        EACH(b) phi[b] = PHI[point][b];
        for (int i = 0; i < 3; ++i)
            EACH(b) g[i][b] = DPHI[point][0][b] * K[0][i] + DPHI[point][1][b] * K[1][i] + DPHI[point][2][b] * K[2][i];
        if (DEGREE > 1) { /* of linear elements it is left out, in `terms`, too */
            Node turn = {0};
            double M[6];
            for (int k = 0; k < 6; ++k) {
                M[k] = (PAIR[k][0] == PAIR[k][1] ? 1.0 : 2.0) * dot3(K[PAIR[k][0]], K[PAIR[k][1]]);
                turn += M[k] * bend[k];
            }
            EACH(b) laplace[b] = M[0] * DDPHI[0][b] + M[1] * DDPHI[1][b] + M[2] * DDPHI[2][b] + M[3] * DDPHI[3][b]
                + M[4] * DDPHI[4][b] + M[5] * DDPHI[5][b] - g[0][b] * turn[0] - g[1][b] * turn[1] - g[2][b] * turn[2];
        }

        Node value = {0}, slope[3] = {{0}}, bent = {0}, carried[3] = {{0}}, w = {0}, f = {0}, a = {0};
        for (int b = 0; b < N; ++b) {
            value += phi[b] * state[b];
            w += phi[b] * advecting[b];
            f += phi[b] * frozen[b];
            bent += laplace[b] * state[b];
            for (int j = 0; j < 3; ++j) {
                slope[j] += g[j][b] * state[b];
                carried[j] += g[j][b] * advecting[b];
            }
        }
        if (rate != 0.0)
            for (int b = 0; b < N; ++b)
                a += phi[b] * rate * (1.5 * state[b] - history[b]);
        at->p = value[3];
        at->div_u = slope[0][0] + slope[1][1] + slope[2][2];
        at->half_div_w = 0.5 * (carried[0][0] + carried[1][1] + carried[2][2]);
        for (int i = 0; i < 3; ++i) {
            at->u[i] = value[i];
            at->w[i] = w[i];
            at->f[i] = f[i];
            at->a[i] = a[i];
            at->r[i] = slope[i][3] - nu * bent[i] + slope[0][i] * w[0] + slope[1][i] * w[1] + slope[2][i] * w[2] + a[i];
            for (int j = 0; j < 3; ++j)
                at->U[i][j] = slope[j][i];
        }

        /* tau and its derivative with respect to f */
        double metric[3][3], Gf[3];
        const double square = element_metric(K, metric);
        for (int i = 0; i < 3; ++i)
            Gf[i] = dot3(metric[i], at->f);
        const double trace = metric[0][0] + metric[1][1] + metric[2][2], advective = dot3(at->f, Gf);
        at->tau = 1.0 / sqrt(advective + 0.25 * C_INVERSE * nu * nu * square);
        at->squeeze = 1.0 / (at->tau * trace);
        at->pseudo = inverse_cfl * sqrt(advective + 1e-12);
        for (int i = 0; i < 3; ++i) {
            at->slope[i] = -at->tau * at->tau * at->tau * Gf[i];
            at->lsic[i] = at->div_u * at->tau * Gf[i] / trace;
        }
        EACH(b) strong[b] = 1.5 * rate * phi[b] + w[0] * g[0][b] + w[1] * g[1][b] + w[2] * g[2][b] - nu * laplace[b];
    }
}

void residual(double *restrict F, const double *restrict coefficients, const double *restrict constants,
              const double *restrict x, const int *restrict entity, const uint8_t *restrict permutation, void *custom)
{
    const double nu = constants[0];
    Point points[POINTS];
    evaluate(points, coefficients, constants, x);

    double sum[4][PAD] = {{0}};
    for (int k = 0; k < POINTS; ++k) {
        const Point *at = points + k;
        const double *phi = (const double *)at->phi, dilation = at->squeeze * at->div_u - at->p;
        const double *g[3] = {(const double *)at->g[0], (const double *)at->g[1], (const double *)at->g[2]};
        double c[3][4], d[3]; /* factors of g and of phi */
        for (int i = 0; i < 3; ++i) {
            d[i] = at->W * (at->a[i] + dot3(at->U[i], at->w) + at->half_div_w * at->u[i]);
            for (int j = 0; j < 3; ++j)
                c[i][j] = at->W * (nu * at->U[i][j] + at->tau * at->r[i] * at->f[j] + (i == j ? dilation : 0.0));
        }
        for (int i = 0; i < 3; ++i)
            EACH(b) sum[i][b] += d[i] * phi[b] + c[i][0] * g[0][b] + c[i][1] * g[1][b] + c[i][2] * g[2][b];
        const double mass = at->W * at->div_u, push = at->W * at->tau;
        EACH(b) sum[3][b] += mass * phi[b]
            + push * (at->r[0] * g[0][b] + at->r[1] * g[1][b] + at->r[2] * g[2][b]);
    }
    for (int b = 0; b < N; ++b)
        for (int i = 0; i < 4; ++i)
            F[4 * b + i] += sum[i][b];
}

/* What multiplies the trial functions in the rows of VECTOR nodes, point by point. */
typedef struct {
    Vector phi[16][POINTS], g[16][POINTS], strong[3][POINTS]; /* row 4 i + j: equation i, unknown j */
    Vector own[5][POINTS]; /* of each component's own: g[0], g[1], g[2], phi, strong */
} Rows;

static void weigh(const Point *restrict points, const double *restrict constants, int lanes, Rows *restrict rows)
{
    const double nu = constants[0], newton = constants[1], rate = constants[3];
    for (int k = 0; k < POINTS; ++k) {
        const Point *at = points + k;
        const double W = at->W, tau = at->tau;
        const Vector phi = at->phi[lanes], g[3] = {at->g[0][lanes], at->g[1][lanes], at->g[2][lanes]};
        const Vector along = at->f[0] * g[0] + at->f[1] * g[1] + at->f[2] * g[2], both = phi + tau * along;
        rows->own[3][k] = W * (at->half_div_w + at->pseudo + 1.5 * rate) * phi;
        rows->own[4][k] = W * tau * along;
        for (int i = 0; i < 3; ++i) {
            rows->own[i][k] = W * (at->w[i] * phi + nu * g[i]);
            for (int j = 0; j < 3; ++j) {
                rows->phi[4 * i + j][k] = W * newton
                    * (at->U[i][j] * both + at->slope[j] * at->r[i] * along + tau * at->r[i] * g[j]
                       + at->lsic[j] * g[i]);
                rows->g[4 * i + j][k] = W * (at->squeeze * g[i] + newton * 0.5 * at->u[i] * phi);
            }
            rows->phi[4 * i + 3][k] = -W * g[i];
            rows->g[4 * i + 3][k] = W * tau * along;
            rows->phi[12 + i][k] = W * newton
                * (tau * (at->U[0][i] * g[0] + at->U[1][i] * g[1] + at->U[2][i] * g[2])
                   + at->slope[i] * (at->r[0] * g[0] + at->r[1] * g[1] + at->r[2] * g[2]));
            rows->g[12 + i][k] = W * phi;
            rows->strong[i][k] = W * tau * g[i];
        }
    }
}

/* The rows of one of those nodes: block[4 i + j] over all nodes. */
static void fill(const Point *restrict points, const Rows *restrict rows, int lane, Vector block[16][PAD / VECTOR])
{
    Vector own[PAD / VECTOR] = {{0}}, both[PAD / VECTOR] = {{0}};
    for (int k = 0; k < POINTS; ++k) {
        const Point *at = points + k;
        EACH_VECTOR(v) {
            own[v] += rows->own[3][k][lane] * at->phi[v] + rows->own[0][k][lane] * at->g[0][v]
                + rows->own[1][k][lane] * at->g[1][v] + rows->own[2][k][lane] * at->g[2][v]
                + rows->own[4][k][lane] * at->strong[v];
            both[v] += rows->strong[0][k][lane] * at->g[0][v] + rows->strong[1][k][lane] * at->g[1][v]
                + rows->strong[2][k][lane] * at->g[2][v];
        }
    }
    for (int n = 0; n < 15; ++n) {
        const int i = n / 4, j = n % 4, of = j < 3 ? j : i;
        Vector sum[PAD / VECTOR] = {{0}};
        for (int k = 0; k < POINTS; ++k) {
            const double c = rows->phi[n][k][lane], d = rows->g[n][k][lane];
            EACH_VECTOR(v) sum[v] += c * points[k].phi[v] + d * points[k].g[of][v];
        }
        if (i == 3)
            for (int k = 0; k < POINTS; ++k)
                EACH_VECTOR(v) sum[v] += rows->strong[j][k][lane] * points[k].strong[v];
        if (i == j)
            EACH_VECTOR(v) sum[v] += own[v];
        EACH_VECTOR(v) block[n][v] = sum[v];
    }
    EACH_VECTOR(v) block[15][v] = both[v];
}

void tangent(double *restrict A, const double *restrict coefficients, const double *restrict constants,
             const double *restrict x, const int *restrict entity, const uint8_t *restrict permutation, void *custom)
{
    Point points[POINTS];
    Rows rows;
    Vector block[16][PAD / VECTOR];
    evaluate(points, coefficients, constants, x);
    for (int a = 0; a < N; ++a) {
        if (a % VECTOR == 0)
            weigh(points, constants, a / VECTOR, &rows);
        fill(points, &rows, a % VECTOR, block);
        for (int i = 0; i < 4; ++i)
            for (int b = 0; b < N; ++b)
                for (int j = 0; j < 4; ++j)
                    A[(4 * a + i) * 4 * N + 4 * b + j] += ((const double *)block[4 * i + j])[b];
    }
}

/* What a cell's kernels need, from all cells' data. */
static void gather(int cell, const int *nodes, const int *geometry, const double *coordinates, double **functions,
                   double coefficients[16 * N], double x[3 * G])
{
    const int *node = nodes + (size_t)N * cell, *corner = geometry + (size_t)G * cell;
    for (int c = 0; c < G; ++c)
        for (int i = 0; i < 3; ++i)
            x[3 * c + i] = coordinates[3 * (size_t)corner[c] + i];
    for (int f = 0; f < 4; ++f)
        for (int a = 0; a < N; ++a)
            *(Node *)(coefficients + 4 * (N * f + a)) = *(const Node *)(functions[f] + 4 * (size_t)node[a]);
}

/* Add the residual of the first cells to a vector over all nodes. */
void add_residual(int count, const int *nodes, const int *geometry, const double *coordinates, double **functions,
                  const double *constants, double *value)
{
    double coefficients[16 * N], x[3 * G];
    for (int cell = 0; cell < count; ++cell) {
        double F[4 * N] = {0};
        gather(cell, nodes, geometry, coordinates, functions, coefficients, x);
        residual(F, coefficients, constants, x, NULL, NULL, NULL);
        for (int a = 0; a < N; ++a)
            *(Node *)(value + 4 * (size_t)nodes[(size_t)N * cell + a]) += *(const Node *)(F + 4 * a);
    }
}

/* Add the Jacobian of some cells to a matrix of 4 x 4 blocks, each stored column by column; where[k][a][b] is the block
   of nodes a and b of the k-th. */
void add_tangent(int count, const int *nodes, const int *geometry, const double *coordinates, double **functions,
                 const double *constants, const int *cell, const int *where, double *value)
{
    double coefficients[16 * N], x[3 * G];
    Point points[POINTS];
    Rows rows;
    Vector block[16][PAD / VECTOR];
    for (int k = 0; k < count; ++k) {
        const int *place = where + (size_t)N * N * k;
        gather(cell[k], nodes, geometry, coordinates, functions, coefficients, x);
        evaluate(points, coefficients, constants, x);
        for (int a = 0; a < N; ++a) {
            if (a % VECTOR == 0)
                weigh(points, constants, a / VECTOR, &rows);
            fill(points, &rows, a % VECTOR, block);
            for (int b = 0; b < N; ++b) {
                double *to = value + 16 * (size_t)place[N * a + b];
                for (int j = 0; j < 4; ++j)
                    for (int i = 0; i < 4; ++i)
                        to[4 * j + i] += ((const double *)block[4 * i + j])[b];
            }
        }
    }
}
