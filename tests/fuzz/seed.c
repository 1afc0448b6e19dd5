// SPDX-License-Identifier: MIT
/* A small file with symbols, unwind tables, lines and functions within others, for fuzz_elf.c. */
volatile int seed_sink;

static inline __attribute__((always_inline)) int inner(int n)
{
	seed_sink += n;
	return n * 3;
}

static __attribute__((noinline)) int middle(int n)
{
	int sum = 0;

	for (int i = 0; i < n; i++)
		sum += inner(i) ^ seed_sink;
	return sum;
}

int seed_outer(int n);
int seed_outer(int n)
{
	return n > 1 ? middle(n) + inner(n - 1) : 0;
}
