/* What a process of the simulation is given for randomness: a function of CASEMENT_ENTROPY, and nothing
 * else. Maps of the standard library, turns of the runtime's `select!` and random ids all begin here,
 * and so a seed does the same each time. Without the variable it is the system's randomness.
 *
 * In C, since only a symbol of the C library's name reaches all of them, and the house has no unsafe
 * Rust. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static uint64_t state;
static int is_seeded = -1;

static uint64_t next(void) {
    uint64_t mixed = __atomic_add_fetch(&state, UINT64_C(0x9e3779b97f4a7c15), __ATOMIC_RELAXED);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

ssize_t getrandom(void *buffer, size_t length, unsigned int flags) {
    if (is_seeded < 0) {
        const char *seed = getenv("CASEMENT_ENTROPY");
        is_seeded = seed != NULL;
        if (is_seeded) {
            state = strtoull(seed, NULL, 10);
        }
    }
    if (!is_seeded) {
        return syscall(SYS_getrandom, buffer, length, flags);
    }
    unsigned char *bytes = buffer;
    for (size_t at = 0; at < length; at++) {
        bytes[at] = (unsigned char)next();
    }
    return (ssize_t)length;
}
