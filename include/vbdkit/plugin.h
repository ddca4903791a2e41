/* SPDX-License-Identifier: MIT
 *
 * vbdkit plugin ABI, major 1: the one contract between the host and a plugin.
 *
 * Plain C99, valid C++11 and later, includes only <stdint.h>. A plugin links against nothing of
 * vbdkit: every service of the host is a function pointer. Layout is defined for LP64, little
 * endian or big.
 *
 * Rules that hold for everything below
 *  - Every struct that may grow begins with its size in bytes as its maker knew it. The reader copies
 *    min(size, its own size) and takes the rest as zero; zero always means "as before". Fields are
 *    only appended. vbd_option, vbd_kv, vbd_extent and vbd_fd_map never change (vbd_option: see
 *    option_stride).
 *  - Strings are UTF-8 and NUL-terminated; paths are bytes without NUL and newline. Strings and
 *    arrays given to a call live until it returns; nobody frees the other side's memory.
 *  - Sizes and offsets are bytes. Where a limit is not stated a value may use its type's whole range.
 *  - A call returns VBD_OK or one VBD_E_*; on failure it fills the error.
 *  - [call-thread]: one call at a time per plugin, never re-entered, except image calls that the
 *    filetype declared parallel. [any-thread]: callable from any thread at any time during a call.
 *  - A plugin changes nothing of the process: cwd, umask, locale, signals, uid, environment, stdio,
 *    limits. It does not fork, exec, exit or write to descriptors 0..2; what it opens is O_CLOEXEC.
 *    No thread that it starts outlives the call.
 *
 * Versions: the major is in the symbol's name. A plugin is accepted when its min_host_minor is not
 * above the host's VBD_ABI_MINOR. Being old is silent. */
#ifndef VBDKIT_PLUGIN_H
#define VBDKIT_PLUGIN_H
#include <stdint.h>

#define VBD_ABI_MAJOR 1
#define VBD_ABI_MINOR 0

#if defined(__cplusplus) && __cplusplus >= 201703L
#define VBD_NOEXCEPT noexcept /* part of the type: a callback that may throw does not compile */
#else
#define VBD_NOEXCEPT
#endif
#define VBD_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* ---- status -------------------------------------------------------------------------------
 * Numbers are never reused. In brackets: the exit code that vbd makes of it. */
enum {
  VBD_OK = 0,
  VBD_E_INTERNAL = -1,   /* unexpected state, a bug [1] */
  VBD_E_INVAL = -2,      /* argument or option out of range [2] */
  VBD_E_NOTSUP = -3,     /* operation, must bit or pairing not supported [5] */
  VBD_E_NOENT = -4,      /* image or device is not there [3] */
  VBD_E_EXIST = -5,      /* already there; never returned by attach [4] */
  VBD_E_BUSY = -6,       /* in use by somebody else; later may do [4] */
  VBD_E_PERM = -7,       /* the system refused permission [1] */
  VBD_E_IO = -8,         /* [1] */
  VBD_E_NOSPC = -9,      /* no space, no inode, over quota, file too large [1] */
  VBD_E_CORRUPT = -10,   /* the image's content is damaged or hostile [6] */
  VBD_E_MISSING = -11,   /* a helper program, kernel module or library is missing; name it [1] */
  VBD_E_CANCELLED = -12, /* [1] */
  VBD_E_TIMEOUT = -13,   /* [1] */
  VBD_E_REFERENCE = -14, /* the image names a second file that was not handed over [5] */
  VBD_E_REFUSED = -15    /* the image uses what policy refuses, e.g. encryption [5] */
};

/* Filled by the callee, owned by the caller, who zeroes it before the call.
 * reason: NULL or a stable machine-readable word ("qcow.l1_beyond_eof", [a-z0-9._-]{1,63}) with
 * static storage in the callee. msg: one line, UTF-8, no newline, no secret, NUL-terminated. */
struct vbd_error {
  uint32_t size;
  int32_t sys_errno;  /* positive errno value, 0 when no system call was at fault */
  char *msg;          /* msg_cap bytes of the caller's, at least 256 */
  uint32_t msg_cap;
  uint32_t reserved;  /* 0 */
  const char *reason;
};

/* Where results go, owned by the caller. Keys are [a-z][a-z0-9_.]{0,63}; key and value are copied
 * before put_* returns. A key that repeats replaces its value. Returns VBD_OK or an error that the
 * callee passes on. [call-thread] */
struct vbd_sink {
  uint32_t size;
  uint32_t reserved; /* 0 */
  void *ctx;
  int32_t (*put_str)(void *ctx, const char *key, const char *value) VBD_NOEXCEPT;
  int32_t (*put_u64)(void *ctx, const char *key, uint64_t value) VBD_NOEXCEPT;
  int32_t (*put_bool)(void *ctx, const char *key, int32_t value) VBD_NOEXCEPT;
};

/* ---- the host ------------------------------------------------------------------------------
 * Valid from init() until fini() returned; ctx of the host is given back to each of its functions,
 * those of its extensions included. */
enum { VBD_LOG_ERROR = 0, VBD_LOG_WARN = 1, VBD_LOG_INFO = 2, VBD_LOG_DEBUG = 3 };
struct vbd_host {
  uint32_t size;
  uint16_t abi_major, abi_minor; /* the host's own */
  void *ctx;
  void (*log)(void *ctx, uint32_t level, const char *text) VBD_NOEXCEPT; /* [any-thread] */
  /* units are the caller's own; total 0: unknown. 0: go on, 1: stop, return VBD_E_CANCELLED.
   * [call-thread] */
  int32_t (*progress)(void *ctx, uint64_t done, uint64_t total) VBD_NOEXCEPT;
  /* NULL when the host does not have it. Ids are "vbd.NAME/REV" or "com.example.NAME/REV" and never
   * change meaning. [call-thread] */
  const void *(*get_extension)(void *ctx, const char *id) VBD_NOEXCEPT;
};

/* A descriptor for a child: it appears there as number child_fd (3..255, each once). The parent's
 * stays open. */
struct vbd_fd_map {
  int32_t parent_fd;
  int32_t child_fd;
};

/* "vbd.run/1": runs a helper program and waits. The one way to start a program. [call-thread]
 * The environment is PATH, LC_ALL=C and LANG=C; the helper's stderr is logged and its last lines
 * are put into the error. VBD_E_MISSING: not found in the host's path; VBD_E_TIMEOUT: killed.
 * A non-zero exit_status is VBD_OK here: what it means only the caller knows. */
#define VBD_EXT_RUN "vbd.run/1"
struct vbd_run_args {
  uint32_t size;
  uint32_t timeout_ms;     /* 0: the host's default of 60000 */
  const char *const *argv; /* NULL-terminated; argv[0] is a bare name that the host resolves */
  const char *stdin_text;  /* NULL: /dev/null */
  char *out;               /* NULL, or out_cap bytes: stdout, cut at out_cap-1, NUL-terminated */
  uint32_t out_cap;
  int32_t exit_status;     /* filled in: 0..255, or 128 + signal */
  const struct vbd_fd_map *fds;
  uint32_t n_fds;
  uint32_t reserved;       /* 0 */
};
struct vbd_ext_run {
  uint32_t size;
  uint32_t reserved; /* 0 */
  int32_t (*run)(void *host_ctx, struct vbd_run_args *args, struct vbd_error *err) VBD_NOEXCEPT;
};

/* "vbd.spawn/1": starts a program that must outlive the caller: own session, no inherited stdio or
 * descriptors but those named, its own systemd unit where systemd runs. [call-thread] */
#define VBD_EXT_SPAWN "vbd.spawn/1"
struct vbd_spawn_args {
  uint32_t size;
  uint32_t n_fds;
  const char *const *argv;     /* as in vbd_run_args */
  const struct vbd_fd_map *fds;
  const char *unit;            /* name for the unit and the log: [a-zA-Z0-9._-]{1,100} */
  int64_t pid;                 /* filled in */
  uint64_t start_time;         /* filled in: field 22 of /proc/PID/stat, clock ticks since boot */
};
struct vbd_ext_spawn {
  uint32_t size;
  uint32_t reserved; /* 0 */
  int32_t (*spawn)(void *host_ctx, struct vbd_spawn_args *args, struct vbd_error *err) VBD_NOEXCEPT;
  /* VBD_OK: that very process lives; VBD_E_NOENT: it does not. */
  int32_t (*alive)(void *host_ctx, int64_t pid, uint64_t start_time) VBD_NOEXCEPT;
  /* SIGTERM, after timeout_ms SIGKILL; waits until it is gone. VBD_OK when it was gone already. */
  int32_t (*stop)(void *host_ctx, int64_t pid, uint64_t start_time, uint32_t timeout_ms,
                  struct vbd_error *err) VBD_NOEXCEPT;
};

/* "vbd.state/1": the record of the attachment that the present call is about, kept by the host under
 * its run directory. put is durable against a kill of the caller when it returns, so a driver puts
 * down what it is about to make before it makes it. The host forgets all after a detach that
 * returned VBD_OK. Driver calls only. [call-thread] */
#define VBD_EXT_STATE "vbd.state/1"
struct vbd_ext_state {
  uint32_t size;
  uint32_t reserved; /* 0 */
  /* value NULL: forget the key. Keys as in vbd_sink; a value is at most 4095 bytes. */
  int32_t (*put)(void *host_ctx, const char *key, const char *value, struct vbd_error *err) VBD_NOEXCEPT;
  /* The value, valid until the next call of put or the end of the operation; NULL: none. */
  const char *(*get)(void *host_ctx, const char *key) VBD_NOEXCEPT;
  /* A private directory of the host (0700, on a tmpfs as a rule) for sockets and mount points. */
  const char *(*directory)(void *host_ctx) VBD_NOEXCEPT;
};

/* "vbd.lock/1": the lock on the image's bytes (100.. and 200.. as QEMU does) that the host took on
 * request.image_fd. A driver whose helper opens the image by itself and locks it releases the lock,
 * starts the helper, and verifies. The host's operation lock stays held meanwhile. Driver attach
 * and activate only. [call-thread] */
#define VBD_EXT_LOCK "vbd.lock/1"
struct vbd_ext_lock {
  uint32_t size;
  uint32_t reserved; /* 0 */
  int32_t (*release)(void *host_ctx, struct vbd_error *err) VBD_NOEXCEPT;
  /* VBD_OK: process pid now holds the same lock on the same file; VBD_E_BUSY: somebody else does;
   * VBD_E_NOENT: nobody does. */
  int32_t (*held_by)(void *host_ctx, int64_t pid, struct vbd_error *err) VBD_NOEXCEPT;
  /* Takes it again: the way back after a failure. */
  int32_t (*restore)(void *host_ctx, struct vbd_error *err) VBD_NOEXCEPT;
};

/* ---- options: data, so that the host can check, print and complete them --------------------- */
enum {
  VBD_T_BOOL = 1, /* given to the plugin as "true" or "false" */
  VBD_T_U64 = 2,  /* decimal */
  VBD_T_SIZE = 3, /* the user may write a suffix K M G T; given as decimal bytes */
  VBD_T_STRING = 4,
  VBD_T_PATH = 5, /* absolute */
  VBD_T_ENUM = 6
};
enum {
  VBD_OPT_REQUIRED = 1u << 0,
  VBD_OPT_SECRET = 1u << 1,    /* its value is never printed or logged */
  VBD_OPT_PER_IMAGE = 1u << 2, /* may be given per disk or per create, in request.params */
  VBD_OPT_CREATE = 1u << 3     /* with PER_IMAGE: has a meaning at create only */
};
struct vbd_option {
  const char *name;    /* [a-z][a-z0-9_]{0,31} */
  const char *help;    /* one sentence */
  const char *dflt;    /* NULL: none */
  const char *choices; /* VBD_T_ENUM: "a|b|c", else NULL */
  uint64_t min, max;   /* VBD_T_U64 and VBD_T_SIZE; both 0: no limits */
  uint32_t type;
  uint32_t flags;
};
struct vbd_kv {
  const char *key;
  const char *value;
};

/* ---- a file, handed over by the host ---------------------------------------------------------
 * Opened, checked and locked by the host; a filetype does all its input and output through it and
 * opens nothing. Functions return 0, a count, or a negative errno value. [any-thread] when the
 * filetype declares itself parallel, else [call-thread]. */
enum {
  VBD_FILE_READONLY = 1u << 0, /* write, truncate, allocate and punch answer -EBADF */
  VBD_FILE_NO_SYNC = 1u << 1   /* sync does nothing: the user asked for --no-sync */
};
struct vbd_file {
  uint32_t size;
  uint32_t flags;
  void *ctx;
  /* Bytes read, less than len only at the end of the file (0: at or after it); never padded. */
  int64_t (*read)(void *ctx, void *buf, uint64_t len, uint64_t off) VBD_NOEXCEPT;
  /* len, or a negative errno value; then any part may have been written. */
  int64_t (*write)(void *ctx, const void *buf, uint64_t len, uint64_t off) VBD_NOEXCEPT;
  int32_t (*get_size)(void *ctx, uint64_t *bytes) VBD_NOEXCEPT;
  int32_t (*truncate)(void *ctx, uint64_t bytes) VBD_NOEXCEPT;
  /* Reserves disk space, the content of what was a hole stays zero; the file grows if needed.
   * -EOPNOTSUPP where the filesystem cannot. */
  int32_t (*allocate)(void *ctx, uint64_t off, uint64_t len) VBD_NOEXCEPT;
  /* Makes the range read as zero and gives its space back where possible; the size stays. */
  int32_t (*punch)(void *ctx, uint64_t off, uint64_t len) VBD_NOEXCEPT;
  /* From off on: *len bytes are alike, *is_hole says whether they are a hole. -ENXIO at or after the
   * end. A file that cannot tell says "data" up to the end. */
  int32_t (*map)(void *ctx, uint64_t off, uint64_t *len, uint32_t *is_hole) VBD_NOEXCEPT;
  /* All that was written before is durable when it returns 0: the ordering barrier. */
  int32_t (*sync)(void *ctx) VBD_NOEXCEPT;
};

/* A second file that an image names (role "backing" or "data"). The filetype reports it in info and
 * geometry as reference.N.role, .name, .format; the host decides by its policy, opens it, and hands
 * it over. For role "backing" reads of the file yield the guest-visible bytes of the backing image,
 * whatever its format; for "data" the bytes of the file. */
struct vbd_reference {
  uint32_t size;
  uint32_t index; /* N of reference.N */
  const char *role;
  const char *name;
  const struct vbd_file *file;
};

/* ---- one request ----------------------------------------------------------------------------
 * must: the plugin refuses a bit that it does not know (VBD_E_NOTSUP). hint: it ignores such. */
enum {
  VBD_MUST_READONLY = 1u << 0,  /* attach or open read-only */
  VBD_MUST_EXCLUSIVE = 1u << 1, /* the caller holds the image alone */
  VBD_MUST_DRY_RUN = 1u << 2,   /* check everything, change nothing */
  VBD_MUST_SHRINK = 1u << 3,    /* resize: losing guest bytes at the end is wanted */
  VBD_MUST_REPAIR_LEAKS = 1u << 4,
  VBD_MUST_REPAIR_ALL = 1u << 5,
  VBD_MUST_SHARED = 1u << 6     /* drivers: the file lies on storage that other hosts reach too */
};
enum { VBD_HINT_SEQUENTIAL = 1u << 0 };
struct vbd_request {
  uint32_t size;
  uint32_t must;
  uint32_t hint;
  uint32_t n_params;
  const struct vbd_kv *params; /* options with VBD_OPT_PER_IMAGE, checked, defaults filled in */
  const char *image;           /* absolute path; for filetypes only to name it in messages */
  int32_t image_fd;            /* drivers: open, locked descriptor, or -1; the plugin never closes it */
  uint32_t n_properties;
  const struct vbd_kv *properties; /* drivers: the filetype's properties for this very image */
  const char *format;          /* drivers: the filetype's constant, "FT_RAW" */
  const struct vbd_file *file; /* filetypes: the image; size 0 at create */
  const struct vbd_reference *references;
  uint32_t n_references;
  uint32_t block_size;         /* attach: logical block size in bytes, 512..4096; 0: 512 */
  uint64_t bytes;              /* create, resize: virtual size, a multiple of 512, 512..2^63-512 */
  const char *tag;             /* attach, detach, query: what marks our devices, at most 63 bytes */
  const char *dialect;         /* render: "xm", "xl", "qemu", ... */
  const char *vdev;            /* render: the guest's name for the disk, "sda1" */
  const char *node;            /* render, refresh: the attached device node, or NULL */
  const char *snapshot;        /* snapshot operations: name */
};

typedef int32_t (*vbd_op)(void *self, const struct vbd_request *request, struct vbd_sink *sink,
                          struct vbd_error *err) VBD_NOEXCEPT;

/* ---- drivers --------------------------------------------------------------------------------
 * NULL: not supported. attach, detach and query may be repeated at any time, also after the process
 * was killed between any two steps of an earlier one. */
struct vbd_driver_ops {
  uint32_t size;
  uint32_t reserved; /* 0 */
  /* Makes a block device of the image. Puts "node" (str) and what it can of "direct_io" (bool),
   * "block_size" (u64), "read_only" (bool), "backend" (str). An attachment of ours that fits
   * (same file, offset 0, no limit, same mode, same tag) is reported, not made anew. */
  vbd_op attach;
  /* VBD_OK when it was not attached. VBD_E_BUSY, the user named, while the node is in use: never
   * deferred to the last close. When it returns VBD_OK the node is gone. */
  vbd_op detach;
  /* Changes nothing. Puts "attached" (bool), when attached the keys of attach, and "broken" (str:
   * why) when only a part of an attachment is there. */
  vbd_op query;
  vbd_op refresh;  /* the image grew: let the node show it */
  /* The disk as one string of request.dialect. Puts "disk" (str). VBD_E_NOTSUP: dialect unknown.
   * VBD_E_REFUSED: a character of the path can't be carried. Needs no privilege, changes nothing. */
  vbd_op render;
  vbd_op activate;   /* live migration: attach without use, then activate; NULL: attach suffices */
  vbd_op deactivate; /* counterpart of activate */
};

/* ---- filetypes ------------------------------------------------------------------------------ */
enum {
  VBD_EXTENT_HOLE = 1,     /* reads zero, nothing is stored */
  VBD_EXTENT_ZERO = 2,     /* reads zero, stored as zeros or marked so */
  VBD_EXTENT_DATA = 3,     /* the bytes lie verbatim at host_offset of the file */
  VBD_EXTENT_PACKED = 4,   /* stored, but only read() can give the bytes */
  VBD_EXTENT_REFERENCE = 5 /* not here: in reference `file`, at the same guest offset */
};
struct vbd_extent { /* 40 bytes, never changes */
  uint64_t offset;  /* guest offset */
  uint64_t length;  /* > 0 */
  uint64_t host_offset; /* DATA, and ZERO where space is reserved (else 2^64-1); else 0 */
  uint32_t kind;
  uint32_t file;    /* 0: the image; N + 1: reference N */
  uint64_t reserved;
};

enum {
  VBD_IMAGE_PARALLEL_READ = 1u << 0, /* map and read of one image from several threads at once */
  VBD_IMAGE_PARALLEL_WRITE = 1u << 1 /* write, zero, reserve, commit of disjoint ranges likewise */
};
enum {
  VBD_ZERO_MAY_PUNCH = 1u << 0,  /* the space may be given back */
  VBD_ZERO_KEEP_SPACE = 1u << 1  /* the range must stay allocated */
};

/* An open image; `image` is the filetype's own. Offsets are guest offsets; a range beyond the
 * virtual size is VBD_E_INVAL. Every function of a read-only image that would write answers
 * VBD_E_PERM. */
struct vbd_image_ops {
  uint32_t size;
  uint32_t flags; /* VBD_IMAGE_PARALLEL_* */
  /* request: file, image, references, must READONLY, params. The file must outlive the image. */
  int32_t (*open)(void *self, const struct vbd_request *request, void **image,
                  struct vbd_error *err) VBD_NOEXCEPT;
  /* Writes what is still held back, frees everything, also when it fails. */
  int32_t (*close)(void *image, struct vbd_error *err) VBD_NOEXCEPT;
  /* Puts "virtual_size" (u64), "unit" (u64: best multiple for writes, a power of two),
   * "prop.NAME" (str) where this image's property differs from the note's, "reference.N.*". */
  int32_t (*geometry)(void *image, struct vbd_sink *sink, struct vbd_error *err) VBD_NOEXCEPT;
  /* Extents from offset on, ascending, without gaps, at most cap, never beyond offset + length; may
   * end early but *n >= 1 when length > 0. */
  int32_t (*map)(void *image, uint64_t offset, uint64_t length, struct vbd_extent *extents,
                 uint32_t cap, uint32_t *n, struct vbd_error *err) VBD_NOEXCEPT;
  int32_t (*read)(void *image, void *buf, uint64_t length, uint64_t offset,
                  struct vbd_error *err) VBD_NOEXCEPT;
  int32_t (*write)(void *image, const void *buf, uint64_t length, uint64_t offset,
                   struct vbd_error *err) VBD_NOEXCEPT;
  int32_t (*zero)(void *image, uint64_t offset, uint64_t length, uint32_t flags,
                  struct vbd_error *err) VBD_NOEXCEPT;
  /* What was written before is durable when it returns. */
  int32_t (*flush)(void *image, struct vbd_error *err) VBD_NOEXCEPT;
  /* Space for verbatim bytes of the range: DATA extents as map gives them, but invisible to map and
   * read until commit; given back when close comes first. NULL together with commit: not offered.
   * VBD_E_NOTSUP: not for this image, whose bytes are to come through write. */
  int32_t (*reserve)(void *image, uint64_t offset, uint64_t length, struct vbd_extent *extents,
                     uint32_t cap, uint32_t *n, struct vbd_error *err) VBD_NOEXCEPT;
  /* The bytes are in place: make them the guest's, in an order that no crash can hurt. */
  int32_t (*commit)(void *image, uint64_t offset, uint64_t length, struct vbd_error *err) VBD_NOEXCEPT;
};

/* Control operations; all get request.file. */
struct vbd_filetype_ops {
  uint32_t size;
  uint32_t reserved; /* 0 */
  vbd_op probe;  /* "match" (u64 0..100), "why" (str); reads at most the first MiB */
  vbd_op info;   /* "virtual_size" (u64), "reference.N.*", "prop.*", and what the format has */
  vbd_op create; /* the empty file becomes an image of request.bytes that reads as zeros */
  vbd_op resize; /* request.bytes; shrinking only with VBD_MUST_SHRINK */
  /* "leaks" (u64), "errors" (u64), "finding.N" (str, the first 64). VBD_OK also when there are
   * leaks; VBD_E_CORRUPT when there are errors that were not repaired. */
  vbd_op check;
  vbd_op snapshot;
  vbd_op remove; /* NULL: the host unlinks the file */
  const struct vbd_image_ops *image; /* NULL: control operations only */
};

/* ---- the plugin ----------------------------------------------------------------------------- */
enum { VBD_KIND_DRIVER = 1, VBD_KIND_FILETYPE = 2 };
struct vbd_plugin {
  uint32_t size;
  uint16_t abi_major, abi_minor; /* of the header it was compiled with: for reports */
  uint16_t kind;                 /* VBD_KIND_* */
  uint16_t min_host_minor;       /* lowest host minor that it can work with */
  uint32_t flags;                /* must be 0 */
  const char *constant;          /* "FD_LOOP": agrees with the file's name and the note */
  const char *name, *version, *license, *summary, *url; /* none is NULL */
  const struct vbd_option *options;
  uint32_t n_options;
  uint32_t option_stride;        /* sizeof(struct vbd_option) when it was compiled */
  /* config: options without PER_IMAGE and configured defaults of those with it, checked. May be
   * called again after fini. */
  int32_t (*init)(const struct vbd_host *host, const struct vbd_kv *config, uint32_t n_config,
                  void **self, struct vbd_error *err) VBD_NOEXCEPT;
  void (*fini)(void *self) VBD_NOEXCEPT;
  const struct vbd_driver_ops *driver;     /* by kind, exactly one of the two is set */
  const struct vbd_filetype_ops *filetype;
  const void *(*get_extension)(void *self, const char *id) VBD_NOEXCEPT; /* may be NULL */
};

/* The one exported symbol. Pure: no input or output, no allocation, the same pointer every time. */
VBD_EXPORT const struct vbd_plugin *vbd_plugin_v1(void) VBD_NOEXCEPT;

/* ---- identity note --------------------------------------------------------------------------
 * Read without loading or running anything; survives strip. Payload: NUL-separated "key=value".
 *   abi=1.0            MAJOR.MINOR of the header; required
 *   min_host_minor=0   required
 *   kind=driver        or filetype; required
 *   constant=FD_LOOP   required;  name= version= required;  summary= optional
 *   ops=attach,detach  names of the operations that are not NULL, those of the image table as
 *                      image.open, image.map, ...; required
 *   prop.NAME=VALUE    filetype: a property, e.g. prop.flat=1 (guest bytes are file bytes),
 *                      prop.tap=aio, prop.qemu=raw (QEMU's driver for it)
 *   need.NAME=V|W      driver: the property must have one of these values; need.NAME=* any
 *   requires=a,b       optional: helper programs without which it can do nothing
 * Unknown keys are ignored. Use once per plugin, at file scope. */
#define VBD_NOTE_OWNER "VBDP"
#define VBD_NOTE_TYPE 0x56424431u /* "VBD1" */
#define VBD_NOTE_SECTION ".note.vbd.plugin"
#define VBD_PLUGIN_NOTE(pairs)                                                          \
  static const struct {                                                                 \
    uint32_t namesz, descsz, type;                                                      \
    char owner[8];                                                                      \
    char desc[(sizeof(pairs) + 3u) & ~3u];                                              \
  } vbd_note_ __attribute__((section(VBD_NOTE_SECTION), used, aligned(4))) = {          \
      5u, (uint32_t)((sizeof(pairs) + 3u) & ~3u), VBD_NOTE_TYPE, VBD_NOTE_OWNER, pairs}

#ifdef __cplusplus
}
#endif
#endif
