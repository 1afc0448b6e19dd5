// SPDX-License-Identifier: MIT
/* /proc as it is for ourselves, and its text as a hostile process would shape it. */
#include "proc.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

static void ourselves(void **state UNUSED)
{
	struct proc proc;
	struct err err;
	struct proc_status status;
	struct proc_stat stat;
	pid_t *tids = NULL;
	size_t count = 0;

	if (proc_open(&proc, getpid(), &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(proc.pid, getpid());
	assert_true(proc_alive(&proc));
	assert_int_equal(proc_status_read(proc.dir_fd, "status", &status), 0);
	assert_int_equal(status.tgid, getpid());
	assert_int_equal(status.ppid, getppid());
	assert_int_equal(status.uid, getuid());
	assert_int_equal(status.gid, getgid());
	assert_int_equal(status.tracer, 0);
	assert_int_equal(proc_stat_read(proc.dir_fd, "stat", &stat), 0);
	assert_int_equal(stat.ppid, getppid());
	assert_int_equal(stat.start_ticks, proc.start_ticks);
	assert_int_equal(stat.state, 'R');
	assert_int_equal(proc_threads(proc.dir_fd, &tids, &count), 0);
	assert_true(count >= 1);
	assert_int_equal(tids[0], getpid());
	free(tids);
	proc_close(&proc);
	assert_true(proc.pidfd < 0 && proc.dir_fd < 0);
}

static void nobody(void **state UNUSED)
{
	struct proc proc;
	struct err err;

	assert_int_equal(proc_open(&proc, 4194304 + 1, &err), -ESRCH);
	assert_non_null(strstr(err.text, "4194305"));
	assert_true(proc_open(&proc, 0, &err) < 0);
	assert_true(proc_open(&proc, -1, &err) < 0);
}

static void the_dead_stay_dead(void **state UNUSED)
{
	struct proc proc;
	int gate[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		close(gate[1]);
		_exit(read(gate[0], &c, 1) == 0 ? 0 : 1);
	}
	close(gate[0]);
	assert_int_equal(proc_open(&proc, pid, NULL), 0);
	assert_true(proc_alive(&proc));
	close(gate[1]);
	{
		siginfo_t info;

		assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	}
	assert_false(proc_alive(&proc)); /* a zombie */
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(proc_alive(&proc));
	proc_close(&proc);
}

static void maps_of_ours(void **state UNUSED)
{
	struct proc_maps maps;
	const struct proc_map *map;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *mine = mmap(NULL, 3 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct proc proc;
	struct err err;

	assert_true(mine != MAP_FAILED);
	assert_int_equal(mprotect(mine, page, PROT_NONE), 0);
	assert_int_equal(madvise(mine + page, page, MADV_DONTDUMP), 0);
	assert_int_equal(proc_open(&proc, getpid(), NULL), 0);
	if (proc_maps_read(proc.dir_fd, true, &maps, &err) != 0)
		fail_msg("%s", err.text);
	map = proc_maps_find(&maps, (uint64_t)(uintptr_t)mine + page);
	assert_non_null(map);
	assert_int_equal(map->start, (uintptr_t)mine + page);
	assert_int_equal(map->end, map->start + page);
	assert_true(map->dontdump);
	assert_false(map->dontfork);
	assert_string_equal(proc_map_name(&maps, map), "");
	map = proc_maps_find(&maps, (uint64_t)(uintptr_t)&maps_of_ours);
	assert_non_null(map);
	assert_non_null(strstr(proc_map_name(&maps, map), program_invocation_short_name));
	assert_true(map->inode && map->path && proc_map_file(&maps, map)->inode != 0);
	assert_null(proc_maps_find(&maps, 0));
	assert_null(proc_maps_find(&maps, ~0ull));
	proc_maps_free(&maps);
	proc_close(&proc);
	munmap(mine, 3 * page);
}

static int parse(const char *text, struct proc_maps *maps)
{
	return proc_maps_parse(text, strlen(text), maps);
}

static void maps_text(void **state UNUSED)
{
	const struct proc_file *file;
	struct proc_maps maps;

	assert_int_equal(parse("00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/a b (deleted)\n"
			       "7fff0000-7fff1000 rw-p 00000000 00:00 0 \n"
			       "7fff1000-7fff2000 rw-s 00000000 00:01 5   /dev/zero\\012x\n"
			       "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]",
			       &maps),
			 0);
	assert_int_equal(maps.count, 4);
	assert_int_equal(maps.map[0].start, 0x400000);
	assert_int_equal(maps.map[0].end, 0x452000);
	assert_int_equal(maps.map[0].offset, 0x1000);
	file = proc_map_file(&maps, &maps.map[0]);
	assert_int_equal(file->dev_major, 8);
	assert_int_equal(file->dev_minor, 2);
	assert_int_equal(file->inode, 173521);
	assert_string_equal(file->name, "/usr/bin/a b (deleted)");
	assert_true(maps.map[0].readable && !maps.map[0].writable && maps.map[0].executable && !maps.map[0].shared);
	assert_true(maps.map[0].inode && maps.map[0].path && maps.map[0].deleted);
	assert_string_equal(proc_map_name(&maps, &maps.map[1]), "");
	assert_true(!maps.map[1].inode && !maps.map[1].path && maps.map[1].kind == PROC_MAP_PLAIN);
	assert_string_equal(proc_map_name(&maps, &maps.map[2]), "/dev/zero\\012x");
	assert_true(maps.map[2].shared && !maps.map[2].deleted);
	assert_string_equal(proc_map_name(&maps, &maps.map[3]), "[vsyscall]");
	assert_int_equal(maps.map[3].kind, PROC_MAP_KERNEL);
	assert_ptr_equal(proc_maps_find(&maps, 0x451fff), &maps.map[0]);
	assert_null(proc_maps_find(&maps, 0x452000));
	proc_maps_free(&maps);
}

static void smaps_text(void **state UNUSED)
{
	struct proc_maps maps;

	assert_int_equal(parse("1000-2000 rw-p 00000000 00:00 0 \nSize:    4 kB\nVmFlags: rd wr mr mw me dd dc sd\n"
			       "2000-3000 rw-p 00000000 00:00 0 \nSize:    4 kB\nVmFlags: rd wr wf ht\n"
			       "3000-4000 rw-p 00000000 00:00 0 \nVmFlags: rd\n",
			       &maps),
			 0);
	assert_int_equal(maps.count, 3);
	assert_true(maps.map[0].dontdump && maps.map[0].dontfork && !maps.map[0].wipeonfork && !maps.map[0].huge);
	assert_true(!maps.map[1].dontdump && maps.map[1].wipeonfork && maps.map[1].huge);
	assert_true(!maps.map[2].dontdump && !maps.map[2].huge);
	proc_maps_free(&maps);
}

/* Whatever the text, nothing is read past it and the rows make sense. */
static void maps_nonsense(void **state UNUSED)
{
	static const char *const text[] = { "",
					    "\n\n\n",
					    "x",
					    "1000",
					    "1000-",
					    "2000-1000 rw-p 00000000 00:00 0 \n",
					    "1000-2000 rw-p",
					    "1000-2000 rw-p 0 0:0 0",
					    "fffffffffffffffff-0 r 0 0:0 0 \n",
					    "VmFlags: dd\n",
					    "1000-2000 rw-p\n0 0:0 0 0 x",
					    "1000-2000 rw-p 0 0:0 0\nVmFlags: d",
					    "1000-2000 rw-p 00000000 00:00 0 \nVmFlags: \nVmFlags:\n" };

	for (size_t i = 0; i < ARRAY_LEN(text); i++) {
		struct proc_maps maps = { .map = NULL };
		/* a copy of its exact length, so that the sanitizer sees one byte too far */
		size_t len = strlen(text[i]);
		char *copy = malloc(len ? len : 1);

		memcpy(copy, text[i], len);
		if (proc_maps_parse(copy, len, &maps) == 0) {
			for (size_t k = 0; k < maps.count; k++)
				assert_true(maps.map[k].start < maps.map[k].end);
			proc_maps_free(&maps);
		}
		free(copy);
	}
}

static void names_for_people(void **state UNUSED)
{
	char old[16], name[64];
	struct proc_status status;
	struct proc_stat stat;
	struct proc proc;

	prctl(PR_GET_NAME, old);
	prctl(PR_SET_NAME, ") R 1\n\x1b[m(");
	assert_int_equal(proc_open(&proc, getpid(), NULL), 0);
	assert_int_equal(proc_stat_read(proc.dir_fd, "stat", &stat), 0);
	assert_int_equal(stat.ppid, getppid()); /* not fooled by the ')' in the name */
	assert_int_equal(proc_status_read(proc.dir_fd, "status", &status), 0);
	assert_int_equal(status.ppid, getppid());
	proc_name(getpid(), name, sizeof(name));
	assert_null(strchr(name, '\x1b'));
	assert_null(strchr(name, '\n'));
	prctl(PR_SET_NAME, "");
	proc_name(getpid(), name, sizeof(name));
	assert_true(name[0] != '\0');
	proc_name(4194305, name, sizeof(name));
	assert_true(name[0] != '\0');
	prctl(PR_SET_NAME, old);
	proc_close(&proc);
}

static int count_self(pid_t pid, void *arg)
{
	int *seen = arg;

	seen[0]++;
	return pid == getpid() ? 4711 : 0;
}

static void every_process(void **state UNUSED)
{
	int seen[1] = { 0 };

	assert_int_equal(proc_each(count_self, seen), 4711);
	assert_true(seen[0] >= 1);
}

static void small_files_only(void **state UNUSED)
{
	struct proc proc;
	size_t len = 0;
	char *text;

	assert_int_equal(proc_open(&proc, getpid(), NULL), 0);
	assert_int_equal(proc_file(proc.dir_fd, "comm", 64, &text, &len), 0);
	assert_int_equal(strlen(text), len);
	free(text);
	assert_true(proc_file(proc.dir_fd, "no such file", 64, &text, &len) < 0);
	proc_close(&proc);
}

static void a_call_one_waits_in(void **state UNUSED)
{
	struct proc_syscall call;
	struct proc proc;
	int gate[2], ready[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		close(gate[1]);
		if (write(ready[1], "r", 1) != 1)
			_exit(1);
		_exit(read(gate[0], &c, 1) == 0 ? 0 : 1);
	}
	close(gate[0]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(proc_open(&proc, pid, NULL), 0);
	/* it goes to sleep soon after it said so */
	for (int i = 0; i < 100000; i++) {
		assert_int_equal(proc_syscall_read(proc.dir_fd, "syscall", &call), 0);
		if (call.nr == 0)
			break;
		sched_yield();
	}
	assert_int_equal(call.nr, 0); /* read */
	assert_int_equal(call.arg[0], gate[0]);
	assert_int_equal(call.arg[2], 1);
	assert_true(call.sp != 0 && call.pc != 0);
	close(gate[1]);
	close(ready[0]);
	close(ready[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	proc_close(&proc);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(ourselves),	       cmocka_unit_test(nobody),
		cmocka_unit_test(the_dead_stay_dead),  cmocka_unit_test(maps_of_ours),
		cmocka_unit_test(maps_text),	       cmocka_unit_test(smaps_text),
		cmocka_unit_test(maps_nonsense),       cmocka_unit_test(names_for_people),
		cmocka_unit_test(every_process),       cmocka_unit_test(small_files_only),
		cmocka_unit_test(a_call_one_waits_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
