//! `inspect`: every attachment with its paths, and every leftover with the reason why it is one. Changes nothing.
