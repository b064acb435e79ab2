//! Verbs; for now only the standalone WireGuard engine.

use std::process::ExitCode;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("RDOM_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "-f").collect();
    let [verb, name] = arguments.as_slice() else { return ExitCode::from(2) };
    if verb != "wireguard" {
        return ExitCode::from(2);
    }
    match rdomain::wireguard::run_standalone(name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rdom: {name}: {error}");
            ExitCode::FAILURE
        }
    }
}
