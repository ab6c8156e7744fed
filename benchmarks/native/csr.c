/* Dense rows to compressed sparse rows and back, with the processor's vector instructions.

   Only to be measured: what sparsefeat uses is compiled by numba. The same checks, the same
   results. Which variant runs is asked of the processor each time; where it has neither AVX-512 nor
   AVX2, the plain one runs. */

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define MAGNITUDE 0x7fffffff /* all of a float's bits but its sign */
#define CHECKED 512          /* columns looked at before any of them is written to */

enum { PLAIN, AVX2, AVX512 };

int best(void) {
    if (__builtin_cpu_supports("avx512f")) return AVX512;
    return __builtin_cpu_supports("avx2") ? AVX2 : PLAIN;
}

/* Each encoder writes the non-zeros of `row` from `nnz` on and gives the new nnz. What it writes may
   reach 15 elements further. */

static int64_t encode_plain(const int32_t *row, int64_t start, int64_t n, int64_t nnz,
                            int32_t *indices, int32_t *values) {
    for (int64_t i = start; i < n; i++) {
        indices[nnz] = (int32_t)i;
        values[nnz] = row[i];
        nnz += (row[i] & MAGNITUDE) != 0;
    }
    return nnz;
}

__attribute__((target("avx512f,popcnt"))) static int64_t
encode_avx512(const int32_t *row, int64_t n, int64_t nnz, int32_t *indices, int32_t *values) {
    const __m512i magnitude = _mm512_set1_epi32(MAGNITUDE), step = _mm512_set1_epi32(16);
    __m512i columns = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m512i elements = _mm512_loadu_si512(row + i);
        __mmask16 kept = _mm512_test_epi32_mask(elements, magnitude);
        _mm512_storeu_si512(values + nnz, _mm512_maskz_compress_epi32(kept, elements));
        _mm512_storeu_si512(indices + nnz, _mm512_maskz_compress_epi32(kept, columns));
        nnz += __builtin_popcount(kept);
        columns = _mm512_add_epi32(columns, step);
    }
    return encode_plain(row, i, n, nnz, indices, values);
}

static int32_t packing[256][8]; /* for each mask, where its lanes come from */

static void fill_packing(void) {
    for (int mask = 0; mask < 256; mask++)
        for (int lane = 0, place = 0; lane < 8; lane++)
            if (mask >> lane & 1) packing[mask][place++] = lane;
}

__attribute__((target("avx2,popcnt"))) static int64_t
encode_avx2(const int32_t *row, int64_t n, int64_t nnz, int32_t *indices, int32_t *values) {
    const __m256i magnitude = _mm256_set1_epi32(MAGNITUDE), step = _mm256_set1_epi32(8);
    const __m256i zero = _mm256_setzero_si256();
    __m256i columns = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i elements = _mm256_loadu_si256((const __m256i *)(row + i));
        __m256i zeros = _mm256_cmpeq_epi32(_mm256_and_si256(elements, magnitude), zero);
        int kept = ~_mm256_movemask_ps(_mm256_castsi256_ps(zeros)) & 0xff;
        __m256i lanes = _mm256_loadu_si256((const __m256i *)packing[kept]);
        _mm256_storeu_si256((__m256i *)(values + nnz), _mm256_permutevar8x32_epi32(elements, lanes));
        _mm256_storeu_si256((__m256i *)(indices + nnz), _mm256_permutevar8x32_epi32(columns, lanes));
        nnz += __builtin_popcount(kept);
        columns = _mm256_add_epi32(columns, step);
    }
    return encode_plain(row, i, n, nnz, indices, values);
}

void encode(int way, const int32_t *bits, int64_t n_rows, int64_t n_features, int64_t *indptr,
            int32_t *indices, int32_t *values) {
    if (way == AVX2) fill_packing();
    int64_t nnz = indptr[0] = 0;
    for (int64_t row = 0; row < n_rows; row++, bits += n_features) {
        if (way == AVX512) nnz = encode_avx512(bits, n_features, nnz, indices, values);
        else if (way == AVX2) nnz = encode_avx2(bits, n_features, nnz, indices, values);
        else nnz = encode_plain(bits, 0, n_features, nnz, indices, values);
        indptr[row + 1] = nnz;
    }
}

/* Columns must strictly increase from `floor` on, to under `limit`. */

#define SOUND(name, instructions)                                                          \
    instructions static int name(const uint32_t *columns, int64_t n, uint64_t floor,       \
                                 uint64_t limit) {                                         \
        uint32_t disorder = 0;                                                             \
        for (int64_t i = 1; i < n; i++) disorder |= columns[i] <= columns[i - 1];          \
        return !disorder && columns[0] >= floor && columns[n - 1] < limit;                 \
    }

SOUND(sound_plain, )
SOUND(sound_avx2, __attribute__((target("avx2"))))
SOUND(sound_avx512, __attribute__((target("avx512f,avx512bw,avx512vl,prefer-vector-width=512"))))

static void put_plain(const uint32_t *columns, const int32_t *values, int64_t start, int64_t n,
                      int32_t *row) {
    for (int64_t i = start; i < n; i++) row[columns[i]] = values[i];
}

__attribute__((target("avx512f"))) static void
put_avx512(const uint32_t *columns, const int32_t *values, int64_t n, int32_t *row) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_i32scatter_epi32(row, _mm512_loadu_si512(columns + i), _mm512_loadu_si512(values + i), 4);
    put_plain(columns, values, i, n, row);
}

/* Gives the first unsound row, or n_rows. `scatter` says whether AVX-512's scatter is used. */

int64_t decode(int way, int scatter, const int64_t *indptr, const uint32_t *indices,
               const int32_t *values, int64_t n_rows, int64_t n_columns, int32_t *dense) {
    for (int64_t row = 0; row < n_rows; row++, dense += n_columns) {
        uint64_t cleared = 0;
        for (int64_t start = indptr[row]; start < indptr[row + 1]; start += CHECKED) {
            int64_t n = indptr[row + 1] - start < CHECKED ? indptr[row + 1] - start : CHECKED;
            const uint32_t *columns = indices + start;
            int sound = way == AVX512 ? sound_avx512(columns, n, cleared, n_columns)
                        : way == AVX2 ? sound_avx2(columns, n, cleared, n_columns)
                                      : sound_plain(columns, n, cleared, n_columns);
            if (!sound) return row;
            uint64_t end = (uint64_t)columns[n - 1] + 1;
            memset(dense + cleared, 0, 4 * (end - cleared));
            cleared = end;
            if (way == AVX512 && scatter) put_avx512(columns, values + start, n, dense);
            else put_plain(columns, values + start, 0, n, dense);
        }
        memset(dense + cleared, 0, 4 * (n_columns - cleared));
    }
    return n_rows;
}
