/* What a process of the simulation is given for randomness: a function of CASEMENT_ENTROPY, and nothing
 * else. Maps of the standard library, turns of the runtime's `select!` and random ids all begin here,
 * and so a seed does the same each time. Without the variable it is the system's randomness.
 *
 * The thread that the roles run in has numbers of its own: in which order a database's threads ask
 * for some is nobody's seed. And nothing is synced, since nobody pulls the plug of a process that
 * plays out a power cut in its own memory.
 *
 * In C, since only a symbol of the C library's name reaches all of them, and the house has no unsafe
 * Rust. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static uint64_t first_state;
static uint64_t other_state;
static int is_seeded = -1;

static uint64_t next(uint64_t *state) {
    uint64_t mixed = __atomic_add_fetch(state, UINT64_C(0x9e3779b97f4a7c15), __ATOMIC_RELAXED);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

static int seeded(void) {
    if (is_seeded < 0) {
        const char *seed = getenv("CASEMENT_ENTROPY");
        if (seed != NULL) {
            first_state = strtoull(seed, NULL, 10);
            other_state = ~first_state;
        }
        is_seeded = seed != NULL;
    }
    return is_seeded;
}

ssize_t getrandom(void *buffer, size_t length, unsigned int flags) {
    if (!seeded()) {
        return syscall(SYS_getrandom, buffer, length, flags);
    }
    int is_first = syscall(SYS_gettid) == getpid();
    uint64_t *state = is_first ? &first_state : &other_state;
    unsigned char *bytes = buffer;
    for (size_t at = 0; at < length; at++) {
        bytes[at] = (unsigned char)next(state);
    }
    return (ssize_t)length;
}

int fsync(int file) {
    return seeded() ? 0 : (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    return seeded() ? 0 : (int)syscall(SYS_fdatasync, file);
}
