"""What lets tests have every single message to a server fail: proxies on real sockets, and processes to be killed."""
