package devvault

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
)

// Ports of servers are below those that Linux gives to outgoing connections and to
// listeners that ask for any: one of these could take a port that a server is about to
// listen on, or listens on again after a restart.
const firstPort, lastPort = 10_000, 32_000

var portsGiven atomic.Int64

// FreeAddress is an address on loopback, such as 127.0.0.1:12345, that nobody listens on
// and that this process has not given before.
func FreeAddress() (string, error) {
	begin := int64(os.Getpid()) * 97 // elsewhere in each process, since several may run at once
	for range lastPort - firstPort {
		port := firstPort + (begin+portsGiven.Add(1))%(lastPort-firstPort)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)) //nolint:noctx // no waiting in it
		if err == nil {
			return listener.Addr().String(), listener.Close()
		}
	}
	return "", errors.New("no port is free")
}
