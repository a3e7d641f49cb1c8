package devvault

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
)

// Ports of servers are below those that Linux gives to outgoing connections and to
// listeners that ask for any: one of these could take a port that a server is about to
// listen on, or listens on again after a restart. Each has a guard, as far above it: a port
// that this process listens on until it ends, so that no other one gives the same port.
const firstPort, ports = 10_000, 11_000

var given struct {
	sync.Mutex
	next   int
	guards []net.Listener // kept, since a listener that nothing refers to is closed
}

// FreeAddress is an address on loopback, such as 127.0.0.1:12345, that nobody listens on,
// and that neither this process nor another one that runs has been given.
func FreeAddress() (string, error) {
	given.Lock()
	defer given.Unlock()
	if given.next == 0 {
		given.next = os.Getpid() * 97 // elsewhere in each process: most of them meet no guard
	}
	for range ports {
		port := firstPort + given.next%ports
		given.next++
		guard, err := listen(port + ports)
		if err != nil {
			continue
		}
		listener, err := listen(port)
		if err != nil {
			_ = guard.Close()
			continue
		}
		given.guards = append(given.guards, guard)
		return listener.Addr().String(), listener.Close()
	}
	return "", errors.New("no port is free")
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)) //nolint:noctx // no waiting in it
}
