//! rdom as a user meets it: what is typed, what is said, how it ends, and what is left of it.
//!
//! What is true of the kernel is judged by ip(8), ss(8), wg(8) and ping(8), never by rdom itself. Each test runs in
//! private copies of the machine, once as root and once as somebody who is root of a user namespace only.

#[path = "verbs/apply.rs"]
mod apply;
mod capability;
#[path = "verbs/capture.rs"]
mod capture;
#[path = "verbs/command_line.rs"]
mod command_line;
#[path = "verbs/confirm.rs"]
mod confirm;
#[path = "verbs/control.rs"]
mod control;
mod copy;
#[path = "verbs/crash.rs"]
mod crash;
#[path = "verbs/demo.rs"]
mod demo;
#[path = "verbs/dns.rs"]
mod dns;
#[path = "verbs/drift.rs"]
mod drift;
#[path = "verbs/endpoints.rs"]
mod endpoints;
#[path = "verbs/enter.rs"]
mod enter;
#[path = "verbs/events.rs"]
mod events;
#[path = "verbs/exec.rs"]
mod exec;
#[path = "verbs/file.rs"]
mod file;
#[path = "verbs/isolated.rs"]
mod isolated;
#[path = "verbs/keys.rs"]
mod keys;
#[path = "verbs/lent.rs"]
mod lent;
#[path = "verbs/life.rs"]
mod life;
#[path = "verbs/negatives.rs"]
mod negatives;
#[path = "verbs/obstacles.rs"]
mod obstacles;
#[path = "verbs/recipes.rs"]
mod recipes;
#[path = "verbs/residents.rs"]
mod residents;
#[path = "verbs/rights.rs"]
mod rights;
#[path = "verbs/run.rs"]
mod run;
#[path = "verbs/security.rs"]
mod security;
#[path = "verbs/services.rs"]
mod services;
#[path = "verbs/share.rs"]
mod share;
#[path = "verbs/soak.rs"]
mod soak;
#[path = "verbs/standalone.rs"]
mod standalone;
#[path = "verbs/stories.rs"]
mod stories;
#[path = "verbs/suite.rs"]
mod suite;
#[path = "verbs/units.rs"]
mod units;
#[path = "verbs/uplinks.rs"]
mod uplinks;
#[path = "verbs/views.rs"]
mod views;
#[path = "verbs/watch.rs"]
mod watch;
#[path = "verbs/wg.rs"]
mod wg;
#[path = "verbs/world.rs"]
mod world;
