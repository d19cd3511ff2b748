//! Link arguments of `libleaktrack.so`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The build-id tells a copied library from another build of it.
    println!("cargo::rustc-cdylib-link-arg=-Wl,--build-id=sha1");
}
