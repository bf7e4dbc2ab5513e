//! Tokens of an identity provider: what is accepted, and each way of not being so.
