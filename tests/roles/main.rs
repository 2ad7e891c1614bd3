//! Claims about several roles at once that need a time of their own: the roles run in this process,
//! on one broker, by one clock. Whatever can be seen from outside a process is no matter for here.

mod redelivery;
