//! A disk
