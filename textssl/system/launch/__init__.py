"""What a launcher of several processes says, and the store in which they meet."""
