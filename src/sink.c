// SPDX-License-Identifier: MIT
/* O_TMPFILE + linkat, and one thread that compresses and writes while the caller fills
 * the next buffer: on the spare CPU, below everybody who serves. Rejected: the final name
 * while writing (a reader takes half a core for a whole one), rename over an existing
 * file, zstd's own threads (8 MiB and more a thread), O_DIRECT (3 GiB in 1 MiB writes:
 * 860 to 1280 MB/s, this way 1070 to 1520; and each short run between holes would wait for
 * the disk). Traps: a core is mostly zeros and may span terabytes: holes cost nothing in a
 * plain file, and compressed they are written by hand as frames of run-length blocks, not
 * fed through the compressor; a gigabyte left dirty in the page cache slows the very server
 * we serve: write-back is started as we go and the pages are dropped. */
#include "sink.h"

#include "frames.h"
#include "ktime.h"

#include <fcntl.h>
#include <linux/ioprio.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#define WINDOW_BYTES (8u << 20) /* written between two looks at the disk */
#define WINDOW_LEAST (256u << 10)
#define FREE_FLOOR (64u << 20)	/* left free, or 1 % of a smaller disk */
#define SLICE_BYTES (64u << 10) /* put at once when there is a rate */
#define WAIT_NS (50 * NSEC_PER_MSEC)

#define JOBS 3u /* one is filled, one waits, one is written */
#define JOB_BYTES (1u << 20)
#define JOB_RUNS 512u
#define STACK_BYTES (1u << 20)
#define NICE 4

/* len bytes of a job's data, then zeros. */
struct run {
	uint32_t len;
	uint64_t zeros;
};

struct job {
	uint8_t *data;
	size_t len, runs;
	struct run run[JOB_RUNS];
};

struct sink {
	int fd, dir_fd;
	bool named; /* under the hidden name, which must be removed */
	char name[256];
	struct sink_spec spec;
	uint64_t written;		 /* by the caller */
	int failed;			 /* what the caller was told: nothing more is taken */
	bool (*cancel_asked)(void *arg); /* NULL: nobody can */
	void *cancel_arg;

	/* The jobs from 'done' to 'handed' are the thread's, the one behind is the caller's. */
	struct job job[JOBS];
	pthread_t thread;
	bool threaded;
	bool started; /* it was tried to have a thread */
	pthread_mutex_t lock;
	pthread_cond_t work, room;
	unsigned int handed, done;
	bool closing, stop;
	int code; /* of the thread's first failure, told in why */
	struct err why;

	/* of whoever writes: the thread while there is one */
	uint64_t offset;	     /* in the file */
	uint64_t put;		     /* bytes, holes not counted */
	uint64_t window, window_put; /* where the current write-back window begins */
	uint64_t room_bytes;	     /* may be put before the next look at the disk */
	uint64_t due_ns;	     /* when the rate allows the next byte */
	struct frames *frames;	     /* NULL: plain */
};

void sink_part_name(pid_t pid, char *buf, size_t size)
{
	snprintf(buf, size, ".reqtrap-%d.part", (int)pid);
}

/* --- the file --- */

static int look_at_disk(const struct sink_spec *spec, int fd, uint64_t *ret_free, uint64_t *ret_floor)
{
	struct statvfs st;
	uint64_t size, floor;

	if (fstatvfs(fd, &st) < 0)
		return -errno;
	size = (uint64_t)st.f_blocks * st.f_frsize;
	floor = spec->free_bytes ? spec->free_bytes : MIN((uint64_t)FREE_FLOOR, size / 100);
	*ret_floor = MAX(floor, size / 100 * spec->free_percent);
	*ret_free = (uint64_t)st.f_bavail * st.f_frsize;
	return 0;
}

static double mib(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

static int check_room(const struct sink_spec *spec, struct err *err)
{
	uint64_t avail = 0, floor = 0;
	int r = look_at_disk(spec, spec->dir_fd, &avail, &floor);

	if (r < 0)
		return err_sys(err, r, "cannot write '%s'", spec->name);
	if (avail < floor || avail - floor < spec->expect_bytes)
		return err_say(err, -ENOSPC,
			       "cannot write '%s': about %.0f MiB are needed and %.0f MiB are to stay free, "
			       "%.0f MiB are free on that disk",
			       spec->name, mib(spec->expect_bytes), mib(floor), mib(avail));
	return 0;
}

static int open_file(struct sink *sink)
{
	char part[64];

	sink->fd = openat(sink->dir_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (sink->fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
		return -errno;
	sink_part_name(getpid(), part, sizeof(part));
	sink->fd = openat(sink->dir_fd, part, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0600);
	if (sink->fd < 0)
		return -errno;
	sink->named = true;
	return 0;
}

/* Every window: start write-back of this one, wait for the one before and drop it. */
static void turn_window(struct sink *sink)
{
	uint64_t most = WINDOW_BYTES;

	if (sink->spec.rate)
		most = MAX(MIN(sink->spec.rate / 4, most), (uint64_t)WINDOW_LEAST);
	if (sink->put - sink->window_put < most) /* a hole is no work */
		return;
	if (sync_file_range(sink->fd, (off_t)sink->window, (off_t)(sink->offset - sink->window),
			    SYNC_FILE_RANGE_WRITE) < 0)
		fdatasync(sink->fd); /* what it finds wrong, the last fsync tells */
	if (sink->window) {
		/* From the beginning of the file: short, for all before is clean. */
		sync_file_range(sink->fd, 0, (off_t)sink->window,
				SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
		posix_fadvise(sink->fd, 0, (off_t)sink->window, POSIX_FADV_DONTNEED);
	}
	sink->window = sink->offset;
	sink->window_put = sink->put;
}

/* May len bytes more be put on the disk? */
static int allow(struct sink *sink, size_t len, struct err *err)
{
	uint64_t avail = 0, floor = 0;

	if (sink->spec.max_bytes && sink->put + len > sink->spec.max_bytes)
		return err_say(err, -EFBIG,
			       "gave up writing '%s' at %.1f MiB on disk: more than %.*f MiB are not allowed "
			       "(a larger --max-size would let it go on)",
			       sink->name, mib(sink->put), sink->spec.max_bytes < 1u << 20 ? 4 : 1,
			       mib(sink->spec.max_bytes));
	if (len <= sink->room_bytes) {
		sink->room_bytes -= len;
		return 0;
	}
	if (look_at_disk(&sink->spec, sink->fd, &avail, &floor) < 0)
		avail = UINT64_MAX; /* then a full disk tells itself */
	if (avail < floor || avail - floor < len)
		return err_say(err, -ENOSPC,
			       "gave up writing '%s' at %.1f MiB on disk: %.0f MiB are free there, and %.0f MiB are "
			       "to stay so",
			       sink->name, mib(sink->put), mib(avail), mib(floor));
	sink->room_bytes = MIN(avail - floor, (uint64_t)WINDOW_BYTES) - MIN(len, (size_t)WINDOW_BYTES);
	return 0;
}

/* Waits on a condition, not for long: there may be somebody to ask. */
static void wait_on(struct sink *sink, pthread_cond_t *cond, uint64_t until_ns)
{
	struct timespec until = { .tv_sec = (time_t)(until_ns / NSEC_PER_SEC),
				  .tv_nsec = (long)(until_ns % NSEC_PER_SEC) };

	pthread_cond_timedwait(cond, &sink->lock, &until);
}

static int cancelled(const struct sink *sink, struct err *err)
{
	if (sink->failed)
		return err_say(err, sink->failed, "writing '%s' has failed before", sink->name);
	if (sink->cancel_asked && sink->cancel_asked(sink->cancel_arg))
		return err_say(err, -ECANCELED, "writing '%s' was cancelled", sink->name);
	return 0;
}

/* len bytes were put: waits as long as the rate wants. */
static int pace(struct sink *sink, size_t len, struct err *err)
{
	uint64_t now = now_ns();
	int r = 0;

	if (!sink->spec.rate)
		return 0;
	sink->due_ns = MAX(sink->due_ns, now - MIN(now, WAIT_NS)) + len * NSEC_PER_SEC / sink->spec.rate;
	pthread_mutex_lock(&sink->lock);
	while (r == 0 && !sink->stop && (now = now_ns()) < sink->due_ns) {
		wait_on(sink, &sink->work, MIN(sink->due_ns, now + WAIT_NS));
		r = sink->threaded ? 0 : cancelled(sink, err);
	}
	if (sink->stop)
		r = -ECANCELED;
	pthread_mutex_unlock(&sink->lock);
	return r;
}

static int put_file(void *arg, const void *data, size_t len, struct err *err)
{
	struct sink *sink = arg;
	const char *p = data;

	while (len) {
		size_t want = sink->spec.rate ? MIN(len, (size_t)SLICE_BYTES) : len;
		ssize_t n;
		int r = allow(sink, want, err);

		if (r < 0)
			return r;
		do
			n = pwrite(sink->fd, p, want, (off_t)sink->offset);
		while (n < 0 && errno == EINTR);
		if (n <= 0)
			return err_sys(err, n < 0 ? -errno : -EIO, "cannot write '%s'", sink->name);
		p += n;
		len -= (size_t)n;
		sink->offset += (uint64_t)n;
		__atomic_store_n(&sink->put, sink->put + (uint64_t)n, __ATOMIC_RELAXED);
		turn_window(sink);
		r = pace(sink, (size_t)n, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- jobs --- */

static int run_job(struct sink *sink, const struct job *job, struct err *err)
{
	const uint8_t *p = job->data;
	int r = 0;

	for (size_t i = 0; i < job->runs && r == 0; i++) {
		const struct run *run = &job->run[i];

		if (!sink->frames) {
			r = put_file(sink, p, run->len, err);
			sink->offset += run->zeros;
		} else {
			r = frames_add(sink->frames, p, run->len, err);
			if (r == 0)
				r = frames_zeros(sink->frames, run->zeros, err);
		}
		p += run->len;
	}
	return r;
}

/* Who serves comes first, at the CPU and at the disk. */
static void give_way(void)
{
	struct sched_param param = { .sched_priority = 0 };

	pthread_setschedparam(pthread_self(), SCHED_BATCH, &param);
	setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0) + NICE);
	syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 7));
}

static void *work(void *arg)
{
	struct sink *sink = arg;
	struct err err = { "" };

	if (!sink->spec.urgent)
		give_way();
	pthread_mutex_lock(&sink->lock);
	for (;;) {
		int r = sink->code;

		if (sink->done == sink->handed) {
			if (sink->closing)
				break;
			pthread_cond_wait(&sink->work, &sink->lock);
			continue;
		}
		if (r == 0 && !sink->stop) {
			pthread_mutex_unlock(&sink->lock);
			r = run_job(sink, &sink->job[sink->done % JOBS], &err);
			pthread_mutex_lock(&sink->lock);
		}
		if (r < 0 && !sink->code) {
			sink->code = r;
			sink->why = err;
		}
		sink->done++;
		pthread_cond_signal(&sink->room);
	}
	pthread_mutex_unlock(&sink->lock);
	return NULL;
}

/* Without a thread the caller does the work. Started when there is some: before, its first
 * steps would take a CPU from threads that we wait for to stop. */
static void start_thread(struct sink *sink)
{
	pthread_attr_t attr;
	sigset_t all, old;

	sink->started = true;
	if (pthread_attr_init(&attr) != 0)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	sink->threaded = pthread_create(&sink->thread, &attr, work, sink) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
}

static void end_thread(struct sink *sink, bool at_once)
{
	if (!sink->threaded)
		return;
	pthread_mutex_lock(&sink->lock);
	sink->closing = true;
	sink->stop = at_once;
	pthread_cond_signal(&sink->work);
	pthread_mutex_unlock(&sink->lock);
	pthread_join(sink->thread, NULL);
	sink->threaded = false;
}

static struct job *filling(struct sink *sink)
{
	return &sink->job[sink->threaded ? sink->handed % JOBS : 0];
}

/* Hands over what is filled, and waits until at most 'left' jobs are not done. */
static int hand_over(struct sink *sink, unsigned int left, struct err *err)
{
	struct job *job = filling(sink);
	int r = 0;

	if (sink->failed)
		return cancelled(sink, err);
	if (!sink->started)
		start_thread(sink);
	if (!sink->threaded) {
		r = sink->code = run_job(sink, job, err);
	} else {
		pthread_mutex_lock(&sink->lock);
		if (job->runs) {
			sink->handed++;
			pthread_cond_signal(&sink->work);
		}
		while (!sink->code && r == 0 && sink->handed - sink->done > left) {
			wait_on(sink, &sink->room, now_ns() + WAIT_NS);
			r = cancelled(sink, err);
		}
		if (sink->code)
			r = err_say(err, sink->code, "%s", sink->why.text);
		pthread_mutex_unlock(&sink->lock);
	}
	if (r < 0)
		return sink->failed = r; /* the thread may still be at the job behind */
	job = filling(sink);
	job->len = job->runs = 0;
	return 0;
}

/* --- the caller's side --- */

static int make_sink(struct sink *sink)
{
	pthread_condattr_t attr;
	int r = open_file(sink);

	for (size_t i = 0; i < JOBS && r == 0; i++) {
		sink->job[i].data = malloc(JOB_BYTES);
		r = sink->job[i].data ? 0 : -ENOMEM;
	}
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&sink->lock, NULL);
	pthread_cond_init(&sink->work, &attr);
	pthread_cond_init(&sink->room, &attr);
	pthread_condattr_destroy(&attr);
	if (r == 0 && sink->spec.compress == SINK_ZSTD)
		r = frames_new(sink->dir_fd, JOB_BYTES, put_file, sink, &sink->frames);
	return r;
}

int sink_open(const struct sink_spec *spec, struct sink **ret_sink, struct err *err)
{
	const char *name = spec->name;
	struct sink *sink;
	int r;

	if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, "..") || strlen(name) > 255)
		return err_say(err, -EINVAL, "'%s' is not a file name", name);
	r = check_room(spec, err);
	if (r < 0)
		return r;
	if (faccessat(spec->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return err_sys(err, -EEXIST, "cannot write '%s'", name);
	sink = calloc(1, sizeof(*sink));
	if (!sink)
		return err_sys(err, -ENOMEM, "cannot write '%s'", name);
	sink->fd = -1;
	sink->dir_fd = spec->dir_fd;
	snprintf(sink->name, sizeof(sink->name), "%s", name);
	sink->spec = *spec;
	sink->spec.name = sink->name;
	r = make_sink(sink);
	if (r < 0) {
		sink_abort(sink);
		return err_sys(err, r, "cannot write '%s'", name);
	}
	*ret_sink = sink;
	return 0;
}

void sink_abort(struct sink *sink)
{
	char part[64];

	if (!sink)
		return;
	end_thread(sink, true);
	if (sink->named) {
		sink_part_name(getpid(), part, sizeof(part));
		unlinkat(sink->dir_fd, part, 0);
	}
	if (sink->fd >= 0)
		close(sink->fd);
	for (size_t i = 0; i < JOBS; i++)
		free(sink->job[i].data);
	pthread_cond_destroy(&sink->work);
	pthread_cond_destroy(&sink->room);
	pthread_mutex_destroy(&sink->lock);
	frames_free(sink->frames);
	free(sink);
}

void sink_cancel_when(struct sink *sink, bool (*asked)(void *arg), void *arg)
{
	sink->cancel_asked = asked;
	sink->cancel_arg = arg;
}

/* The job to put more data into, with a run that is open for it. */
static int next_run(struct sink *sink, struct job **ret_job, struct run **ret_run, struct err *err)
{
	struct job *job = filling(sink);
	struct run *run = job->runs ? &job->run[job->runs - 1] : NULL;

	if (job->len == JOB_BYTES || (job->runs == JOB_RUNS && run->zeros)) {
		int r = hand_over(sink, JOBS - 1, err);

		if (r < 0)
			return r;
		job = filling(sink);
		run = NULL;
	}
	if (!run || run->zeros) {
		run = &job->run[job->runs++];
		*run = (struct run){ 0 };
	}
	*ret_job = job;
	*ret_run = run;
	return 0;
}

/* NULL: zeros. */
static int add(struct sink *sink, const void *data, size_t len, struct err *err)
{
	const uint8_t *p = data;

	sink->written += len;
	while (len) {
		struct job *job;
		struct run *run;
		size_t n;
		int r = next_run(sink, &job, &run, err);

		if (r < 0)
			return r;
		n = MIN(len, JOB_BYTES - job->len);
		if (p) {
			memcpy(job->data + job->len, p, n);
			p += n;
		} else {
			memset(job->data + job->len, 0, n);
		}
		job->len += n;
		run->len += (uint32_t)n;
		len -= n;
	}
	return 0;
}

int sink_write(struct sink *sink, const void *data, size_t len, struct err *err)
{
	int r = cancelled(sink, err);

	return r < 0 ? r : add(sink, data, len, err);
}

int sink_zeros(struct sink *sink, uint64_t len, struct err *err)
{
	struct job *job;
	struct run *run;
	int r = cancelled(sink, err);

	if (r < 0 || !len)
		return r;
	if (sink->frames && len < FRAMES_ZEROS_LEAST)
		return add(sink, NULL, (size_t)len, err);
	job = filling(sink);
	run = job->runs ? &job->run[job->runs - 1] : NULL;
	if (!run)
		r = next_run(sink, &job, &run, err);
	if (r < 0)
		return r;
	run->zeros += len;
	sink->written += len;
	return 0;
}

uint64_t sink_written(const struct sink *sink)
{
	return sink->written;
}

uint64_t sink_put(const struct sink *sink)
{
	return __atomic_load_n(&sink->put, __ATOMIC_RELAXED);
}

static int give_name(struct sink *sink)
{
	char path[64], part[64];

	if (!sink->named) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", sink->fd);
		return linkat(AT_FDCWD, path, sink->dir_fd, sink->name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
	}
	sink_part_name(getpid(), part, sizeof(part));
	if (renameat2(sink->dir_fd, part, sink->dir_fd, sink->name, RENAME_NOREPLACE) == 0) {
		sink->named = false;
		return 0;
	}
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* File systems without that: a link never replaces; the hidden name goes in sink_abort. */
	return linkat(sink->dir_fd, part, sink->dir_fd, sink->name, 0) < 0 ? -errno : 0;
}

/* All that was written is in the file. */
static int finish(struct sink *sink, struct err *err)
{
	int r = hand_over(sink, 0, err);

	end_thread(sink, r < 0);
	if (r == 0 && sink->frames)
		r = frames_end(sink->frames, err);
	return r;
}

int sink_commit(struct sink *sink, uint64_t *ret_bytes_on_disk, struct err *err)
{
	struct stat st = { 0 };
	int r = finish(sink, err);

	if (r == 0) {
		/* A hole at the end makes the file longer only this way. */
		if (ftruncate(sink->fd, (off_t)sink->offset) < 0 || fsync(sink->fd) < 0 || fstat(sink->fd, &st) < 0)
			r = -errno;
		if (r == 0)
			r = give_name(sink);
		if (r == 0 && fsync(sink->dir_fd) < 0 && errno != EINVAL) {
			r = -errno;
			unlinkat(sink->dir_fd, sink->name, 0);
		}
		if (r < 0)
			err_sys(err, r, "cannot write '%s'", sink->name);
	}
	if (r == 0)
		*ret_bytes_on_disk = (uint64_t)st.st_blocks * 512;
	sink_abort(sink);
	return r;
}
