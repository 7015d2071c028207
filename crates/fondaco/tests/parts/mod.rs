//! What tests take from the program itself: the processes of the demo, and how it compares two folders.
//!
//! A test names what it and its helpers use: `use parts::{compare, failure, world};`.
#![allow(dead_code, reason = "each test uses some of it")]

#[path = "../../src/demo/compare.rs"]
pub(crate) mod compare;
#[path = "../../src/failure.rs"]
pub(crate) mod failure;
#[path = "../../src/demo/world.rs"]
pub(crate) mod world;
