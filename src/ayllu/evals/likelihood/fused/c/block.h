// Norms, gates and sums of exponents of rows of TYPE. Sums are taken in float32.

// x += more, where there is any, and out = x / rms(x) * weight.
static void OF(norm)(TYPE *x, const TYPE *more, const float *weight, TYPE *out, int rows, int width, float epsilon) {
    for (int row = 0; row < rows; row++, x += width, out += width) {
        vf squares = vf_set(0);
        for (int i = 0; i < width; i += VW) {
            vf v = OF(load)(x + i);
            if (more) {
                OF(store)(x + i, v + OF(load)(more + (size_t)row * width + i));
                v = OF(load)(x + i);
            }
            squares += v * v;
        }
        float factor = 1 / sqrtf(lanes_sum(squares) / (float)width + epsilon);
        for (int i = 0; i < width; i += VW) OF(store)(out + i, OF(load)(x + i) * factor * load_float(weight + i));
    }
}

// gate = silu(gate) * up.
static void OF(gate)(TYPE *gate, const TYPE *up, size_t count) {
    for (size_t i = 0; i < count; i += VW) {
        vf x = OF(load)(gate + i), small = vf_exp(-vf_larger(x, -x));  // e to the power of -|x|
        vi negative = x < 0;
        vf above = (vf)((negative & (vi)small) | (~negative & (vi)vf_set(1)));
        OF(store)(gate + i, x * above / (1 + small) * OF(load)(up + i));
    }
}

// For each row the largest number so far, and the sum of all e to the power of number - largest; both go on from what
// they are.
static void OF(exponents)(const TYPE *from, int rows, int columns, float *largest, float *total) {
    for (int row = 0; row < rows; row++, from += columns) {
        vf most = vf_set(-INFINITY), sum = vf_set(0);
        int i = 0;
        for (; i + VW <= columns; i += VW) most = vf_larger(OF(load)(from + i), most);
        TYPE rest[VW];
        for (int j = 0; j < VW; j++) OF(store)(rest, vf_set(-INFINITY));
        memcpy(rest, from + i, sizeof(TYPE) * (size_t)(columns - i));
        float all = lanes_max(vf_larger(OF(load)(rest), most));
        all = largest[row] > all ? largest[row] : all;
        for (i = 0; i + VW <= columns; i += VW) sum += vf_exp(OF(load)(from + i) - all);
        sum += vf_exp(OF(load)(rest) - all);
        total[row] = total[row] * expf(largest[row] - all) + lanes_sum(sum);
        largest[row] = all;
    }
}
