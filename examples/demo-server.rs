//! The demo server as a program of its own: `cargo run -p leaktrack-examples --release`.

fn main() {
    std::process::exit(leaktrack_examples::demo_server::main(
        std::env::args().skip(1),
    ));
}
