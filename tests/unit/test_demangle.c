// SPDX-License-Identifier: MIT
/* Real names of node, the JVM and the C++ library, and names that lie. */
#include "demangle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_real_names(void **state UNUSED)
{
	static const char *const row[][2] = {
		{ "_ZN2os15PlatformMonitor4waitEl", "os::PlatformMonitor::wait" },
		{ "_ZN4node21SpinEventLoopInternalEPNS_11EnvironmentE", "node::SpinEventLoopInternal" },
		{ "_ZN4node9inspector12_GLOBAL__N_117StartIoThreadMainEPv",
		  "node::inspector::(anonymous namespace)::StartIoThreadMain" },
		{ "_ZN4node12_GLOBAL__N_1L20PlatformWorkerThreadEPv",
		  "node::(anonymous namespace)::PlatformWorkerThread" },
		{ "_ZN4nodeL14StartExecutionEPNS_11EnvironmentEPKc", "node::StartExecution" },
		{ "_ZL19thread_native_entryP6Thread", "thread_native_entry" },
		{ "_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector::push_back" },
		{ "_ZNSt3mapISsiSt4lessISsESaISt4pairIKSsiEEEixERS3_", "std::map::operator[]" },
		{ "_ZNSt6threadC2IRFvvEJEEEOT_DpOT0_", "std::thread::thread" },
		{ "_ZN3FooC1Ev", "Foo::Foo" },
		{ "_ZN3a_b3FooD2Ev", "a_b::Foo::~Foo" },
		{ "_ZNK3Foo3getEv", "Foo::get" },
		{ "_ZSt4endl", "std::endl" },
		{ "_Z4worki", "work" },
		{ "_ZN3FooILb1ELi42EE3runEv", "Foo::run" },
		{ "_ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE6appendEPKc",
		  "std::__cxx11::basic_string::append" },
		{ "_Z3mapB5cxx11v", "map" },
	};
	char buf[256];

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		assert_true(demangle(row[i][0], buf, sizeof(buf)));
		assert_string_equal(buf, row[i][1]);
	}
}

static void test_left_alone(void **state UNUSED)
{
	static const char *const name[] = {
		"main",
		"",
		"_",
		"_Z",
		"_ZN",
		"_ZNE",
		"_ZN3Fo",
		"_ZN3FooE4",
		"_ZN99999999999999999999aE",
		"_Z0",
		"_ZN4node",
		"_ZN1aI",
		"_ZN1aISE",
		"_ZN1aIL_Z1bEE",
		"_ZNC1Ev",
		"_ZZN4node3runEvENKUlvE_clEv",
		"_ZTV3Foo",
		"_ZN3FoocviEv",
		"_R1a",
	};
	char buf[256] = "untouched";

	for (size_t i = 0; i < ARRAY_LEN(name); i++) {
		bool done = demangle(name[i], buf, sizeof(buf));

		if (!strcmp(name[i], "_ZN3FooE4")) { /* what follows a name are its parameters */
			assert_true(done);
			strcpy(buf, "untouched");
			continue;
		}
		assert_false(done && name[i][0]);
		assert_string_equal(buf, "untouched");
	}
}

static void test_bounds(void **state UNUSED)
{
	char name[4096] = "_ZN", buf[16];
	size_t n = 3;

	assert_false(demangle("_ZN4node21SpinEventLoopInternalEv", buf, sizeof(buf)));
	for (int i = 0; i < 500; i++)
		n += (size_t)snprintf(name + n, sizeof(name) - n, "4abcd");
	snprintf(name + n, sizeof(name) - n, "Ev");
	assert_false(demangle(name, name, sizeof(name)));
	n = (size_t)snprintf(name, sizeof(name), "_Z1a");
	memset(name + n, 'I', 1000); /* nested without an end */
	name[n + 1000] = '\0';
	assert_false(demangle(name, buf, sizeof(buf)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real_names),
		cmocka_unit_test(test_left_alone),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
