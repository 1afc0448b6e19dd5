// SPDX-License-Identifier: MIT
/* 'open': a debugger on a core, an incident's or any. A compressed core is unpacked into
 * a file without a name, so that nothing is left whoever is killed. Rejected: a pipe
 * (debuggers seek), a named file (has to be removed). Trap: while the debugger has the
 * terminal its Ctrl-C comes to us too. */
#include "child.h"
#include "cmd.h"
#include "cmd_store.h"
#include "log.h"
#include "modules.h"
#include "report_words.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define PAGE_BYTES 4096u
#define CHUNK_BYTES (1u << 20)
#define LOOK_BYTES (64u << 20) /* unpacked between two looks at the disk */
#define FREE_FLOOR (64u << 20)
#define CORE_FD 3 /* the unpacked core in the debugger */
#define CORE_FD_PATH "/proc/self/fd/3"

static const struct debugger {
	const char *name, *package;
	const char *arg[5]; /* CORE and PROGRAM are replaced; ends before PROGRAM where there is none */
} debuggers[] = {
	{ "gdb", "gdb", { "-q", "-c", "CORE", "PROGRAM" } },
	{ "lldb", "lldb", { "-c", "CORE", "PROGRAM" } },
	{ "eu-stack", "elfutils", { "--core", "CORE", "--executable", "PROGRAM" } },
};

struct opening {
	const struct debugger *debugger;
	char program[4096]; /* the debugger */
	char *path;	    /* of the core; owned */
	int fd;		    /* the core */
	int unpacked;	    /* -1: as it lies there */
	struct module exe;  /* .name '': none */
};

static int fail(int code, const struct err *err)
{
	log_error("%s", err->text);
	return exit_code_of(code);
}

/* --- the program --- */

struct places {
	struct corefile_note auxv, files;
};

static int keep_note(void *arg, const struct corefile_note *note)
{
	struct places *places = arg;

	if (strcmp(note->name, "CORE") != 0)
		return 0;
	if (note->type == NT_AUXV)
		places->auxv = *note;
	if (note->type == NT_FILE)
		places->files = *note;
	return 0;
}

static int find_image(void *arg, const struct module *module)
{
	struct module *exe = arg;

	if (module->offset || strcmp(module->name, exe->name) != 0)
		return 0;
	exe->start = module->start;
	return -EEXIST;
}

/* The file that the core says its program is, if that very build is here. */
static void find_exe(struct corefile *core, struct opening *o)
{
	struct places places = { .auxv = { .offset = 0 } };
	uint64_t entry;

	corefile_notes(core, keep_note, &places, NULL);
	entry = places.auxv.offset ? auxv_get(core, &places.auxv, AT_ENTRY) : 0;
	if (!entry || !places.files.offset || module_at(core, &places.files, entry, &o->exe) < 0) {
		o->exe.name[0] = '\0';
		log_note("the core does not say which program it is of: symbols will be missing");
		return;
	}
	if (modules_each(core, &places.files, find_image, &o->exe, NULL) != -EEXIST)
		o->exe.start = 0;
	switch (module_here(core, o->exe.name, o->exe.start)) {
	case MODULE_SAME:
		return;
	case MODULE_UNKNOWN:
		log_note("whether '%s' is the program of the core cannot be told: it has no build-id", o->exe.name);
		return;
	case MODULE_OTHER:
		log_warn("'%s' is another build than the core is of, and is not used: symbols will be missing",
			 o->exe.name);
		break;
	case MODULE_GONE:
		log_note("the program '%s' is not here: symbols will be missing", o->exe.name);
		break;
	}
	o->exe.name[0] = '\0';
}

/* --- unpacking --- */

/* A file that nobody else can open, in one of these directories. */
static int open_nameless(const char *core_path, char *dir, size_t size)
{
	const char *temp = getenv("TMPDIR"), *slash = strrchr(core_path, '/');
	char beside[4096];
	const char *dirs[] = { beside, temp && temp[0] == '/' ? temp : "/var/tmp", "/var/tmp", "/tmp" };

	snprintf(beside, sizeof(beside), "%.*s", slash ? MAX((int)(slash - core_path), 1) : 1, slash ? core_path : ".");
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		int fd = open(dirs[i], O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);

		snprintf(dir, size, "%s", dirs[i]);
		if (fd < 0 && errno != ENOENT && errno != EROFS && errno != EACCES) {
			char name[4200]; /* a file system that has no unnamed files */

			snprintf(name, sizeof(name), "%s/.reqtrap-open.XXXXXX", dirs[i]);
			fd = mkostemp(name, O_CLOEXEC);
			if (fd >= 0)
				unlink(name);
		}
		if (fd >= 0)
			return fd;
	}
	return -errno;
}

static bool has_room(int fd, uint64_t *ret_free)
{
	struct statvfs st;

	if (fstatvfs(fd, &st) < 0)
		return true;
	*ret_free = (uint64_t)st.f_bavail * st.f_frsize;
	return *ret_free >= MIN((uint64_t)FREE_FLOOR, (uint64_t)st.f_blocks * st.f_frsize / 100);
}

/* Pages of zeros become holes. */
static int put_chunk(int fd, const uint8_t *data, size_t len, uint64_t at)
{
	for (size_t done = 0, n; done < len; done += n) {
		size_t run = 0;

		n = MIN(len - done, (size_t)PAGE_BYTES);
		if (all_zeros(data + done, n))
			continue;
		while (done + n < len && !all_zeros(data + done + n, MIN(len - done - n, (size_t)PAGE_BYTES)))
			n += MIN(len - done - n, (size_t)PAGE_BYTES);
		while (run < n) {
			ssize_t w = pwrite(fd, data + done + run, n - run, (off_t)(at + done + run));

			if (w < 0 && errno != EINTR)
				return -errno;
			run += w > 0 ? (size_t)w : 0;
		}
	}
	return 0;
}

static int copy_out(struct seek *seek, struct opening *o, const char *dir, struct err *err)
{
	CLEAN(free) uint8_t *chunk = malloc(CHUNK_BYTES);
	uint64_t at = 0, looked = 0, room = 0;
	struct stat st;
	ssize_t n = 1;
	int r = 0;

	if (!chunk || fstat(o->fd, &st) < 0)
		return err_sys(err, -ENOMEM, "cannot unpack '%s'", o->path);
	while (n > 0 && r == 0) {
		at = seek_data(seek, at);
		n = seek_read(seek, at, chunk, CHUNK_BYTES, err);
		if (n < 0)
			return err_wrap(err, (int)n, "cannot unpack '%s'", o->path);
		if ((!at || at - looked >= LOOK_BYTES) && (looked = at, !has_room(o->unpacked, &room)))
			return err_say(
				err, -ENOSPC,
				"cannot unpack '%s' in '%s': only %s are free there; TMPDIR names another directory, "
				"used where the core's own cannot be",
				o->path, dir, word_bytes(room).s);
		r = put_chunk(o->unpacked, chunk, (size_t)n, at);
		at += (uint64_t)n;
	}
	if (r == 0 && ftruncate(o->unpacked, (off_t)at) < 0)
		r = -errno;
	return r < 0 ? err_sys(err, r, "cannot unpack '%s' in '%s'", o->path, dir) : 0;
}

static int unpack(struct seek *seek, struct opening *o, struct err *err)
{
	char dir[4096] = "";

	o->unpacked = open_nameless(o->path, dir, sizeof(dir));
	if (o->unpacked < 0)
		return err_sys(err, o->unpacked, "cannot unpack '%s' in '%s'", o->path, dir);
	log_note("unpacking '%s', %s, into a file without a name in '%s' ...", o->path, word_bytes(seek_size(seek)).s,
		 dir);
	return copy_out(seek, o, dir, err);
}

/* --- the debugger --- */

static int run(struct opening *o)
{
	const struct child_fd fds[] = { { o->unpacked, CORE_FD } };
	const char *words[8] = { o->debugger->name };
	size_t n = 1;
	struct child child;
	struct err err;
	int r;

	for (size_t i = 0; i < ARRAY_LEN(o->debugger->arg) && o->debugger->arg[i]; i++) {
		const char *arg = o->debugger->arg[i];

		if (!strcmp(arg, "CORE"))
			arg = o->unpacked >= 0 ? CORE_FD_PATH : o->path;
		else if (!strcmp(arg, "PROGRAM"))
			arg = o->exe.name;
		else if (!strcmp(arg, "--executable") && !o->exe.name[0])
			break;
		if (*arg)
			words[n++] = arg;
	}
	r = child_start(&(struct child_spec){ .path = o->program,
					      .argv = (char *const *)words,
					      .fds = fds,
					      .fd_count = o->unpacked >= 0,
					      .inherit_env = true,
					      .keep_stdio = true },
			&child, &err);
	return r < 0 ? fail(r, &err) : child_reap(&child, true);
}

static int open_core(struct opening *o)
{
	static const int held[] = { SIGINT, SIGQUIT };
	struct corefile *core;
	struct err err;
	int r;

	if (child_find(o->debugger->name, o->program, sizeof(o->program)) < 0) {
		log_error("there is no %s here: 'apt install %s'; the core is '%s'", o->debugger->name,
			  o->debugger->package, o->path);
		return EXIT_REFUSED;
	}
	r = corefile_open(o->fd, &core, &err);
	if (r < 0) {
		err_wrap(&err, r, "'%s'", o->path);
		return r == -ESPIPE ? (fail(r, &err), EXIT_MISTAKE) : fail(r, &err);
	}
	find_exe(core, o);
	if (seek_is_zstd(corefile_seek(core)))
		r = unpack(corefile_seek(core), o, &err);
	corefile_close(core);
	if (r < 0)
		return fail(r, &err);
	for (size_t n = 0; n < ARRAY_LEN(held); n++)
		signal(held[n], SIG_IGN);
	return run(o);
}

/* By ID. */
static int find_core(const struct command_line *line, struct opening *o)
{
	CLEAN(free) char *folder = NULL;
	CLEAN(fd) int dir_fd = -1;
	struct incident *incident;
	struct store *store;
	struct err err;
	int code = VERB_GO_ON, r = store_open_meant(line, &store, &err);

	if (r < 0)
		return fail(r, &err);
	r = store_load(store, line->rest[0], &incident, NULL, &err);
	if (r == 0) {
		r = store_find(store, incident->id, &dir_fd, &folder, &err);
		if (r < 0)
			incident_free(incident);
	}
	store_free(store);
	if (r < 0)
		return fail(r, &err);
	if (!incident->capture.core_file) {
		log_error("incident %s has no core: the rule must ask for one (--capture full)", incident->id);
		code = EXIT_NOTHING;
	} else {
		text_setf(&o->path, "%s/%s", folder, incident->capture.core_file);
		o->fd = openat(dir_fd, incident->capture.core_file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (o->fd < 0) {
			r = err_sys(&err, -errno, "cannot open core '%s'", o->path);
			code = fail(r, &err);
		}
	}
	incident_free(incident);
	return code;
}

int cmd_open(int argc, char **argv)
{
	struct opening o = { .debugger = debuggers, .fd = -1, .unpacked = -1 };
	struct command_line line;
	struct stat st;
	struct err err;
	int code = verb_begin("open", argc, argv, &line);
	const char *debugger;

	if (code != VERB_GO_ON)
		return code;
	if (line.rest_count != 1) {
		log_error("which core? Give an incident's ID, 'last', or a file; 'reqtrap list' shows incidents");
		return EXIT_MISTAKE;
	}
	debugger = option_value(&line, "debugger");
	for (size_t i = 0; debugger && i < ARRAY_LEN(debuggers); i++) {
		if (!strcmp(debugger, debuggers[i].name))
			o.debugger = &debuggers[i];
	}
	if (strchr(line.rest[0], '/') || (stat(line.rest[0], &st) == 0 && S_ISREG(st.st_mode))) {
		text_set(&o.path, line.rest[0]);
		o.fd = open(line.rest[0], O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (o.fd < 0) {
			int r = err_sys(&err, -errno, "cannot open core '%s'", line.rest[0]);

			code = fail(r, &err);
		}
	} else {
		code = find_core(&line, &o);
	}
	if (code == VERB_GO_ON)
		code = open_core(&o);
	if (o.unpacked >= 0)
		close(o.unpacked);
	if (o.fd >= 0)
		close(o.fd);
	free(o.path);
	return code;
}
