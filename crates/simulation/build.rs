//! Compiles what makes a process's randomness depend on its seed. See `src/entropy.c`.

fn main() {
    println!("cargo:rerun-if-changed=src/entropy.c");
    #[expect(
        clippy::disallowed_methods,
        reason = "how cargo tells a build script what it builds for"
    )]
    let target = std::env::var("CARGO_CFG_TARGET_OS");
    // Elsewhere a seed decides what happens, but not down to the last turn.
    if target.as_deref() == Ok("linux") {
        cc::Build::new()
            .file("src/entropy.c")
            .warnings(true)
            .link_lib_modifier("-bundle")
            .link_lib_modifier("+whole-archive")
            .compile("casement_entropy");
        println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol=getrandom");
    }
}
