package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// open opens a listener: a host:port, unix:/path, or systemd.
func open(listen string, mode os.FileMode, environment map[string]string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(listen, "unix:")
	switch {
	case listen == "systemd":
		return passed(environment)
	case !isUnix:
		return net.Listen("tcp", listen) //nolint:noctx // there is nothing to wait for
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := listenUnix(path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil { //nolint:gosec // the user says where
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// listenUnix makes a socket that is this user's alone from its beginning.
func listenUnix(path string) (net.Listener, error) {
	defer umask(umask(0o177))
	return net.Listen("unix", path) //nolint:noctx // there is nothing to wait for
}

// removeStale removes the socket of a process that has ended without doing so.
func removeStale(path string) error {
	info, err := os.Lstat(path) //nolint:gosec // the user says where
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return nil //nolint:nilerr // Listen says what is wrong, if anything is
	}
	conn, err := net.Dial("unix", path) //nolint:noctx,gosec // a socket of this machine
	switch {
	case err == nil:
		_ = conn.Close()
		return fmt.Errorf("another process listens at %s", path)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, windowsRefused):
		return os.Remove(path) //nolint:gosec // a socket that nobody listens at
	}
	return fmt.Errorf("another process may listen at %s: %w", path, err)
}

// windowsRefused is WSAECONNREFUSED, which is no ECONNREFUSED to package syscall.
const windowsRefused = syscall.Errno(10061)

// firstPassed is the number of the first file that systemd passes.
const firstPassed = 3

// passed is the socket that systemd passes: see sd_listen_fds(3).
func passed(environment map[string]string) (net.Listener, error) {
	if environment["LISTEN_PID"] != strconv.Itoa(os.Getpid()) || environment["LISTEN_FDS"] != "1" {
		return nil, errors.New("-listen=systemd: systemd has not passed one socket to this process (LISTEN_PID, LISTEN_FDS)")
	}
	file := os.NewFile(firstPassed, "the socket of systemd")
	defer func() { _ = file.Close() }()
	return net.FileListener(file)
}

// onThisMachine says whether only this machine reaches a listener.
func onThisMachine(l net.Listener) bool {
	address, isTCP := l.Addr().(*net.TCPAddr)
	return !isTCP || address.IP.IsLoopback()
}

// publicURL is how applications reach a listener, if it can be told.
func publicURL(l net.Listener, withTLS bool) (string, error) {
	address, isTCP := l.Addr().(*net.TCPAddr)
	if !isTCP || address.IP.IsUnspecified() {
		return "", wrong("-public-url is missing: how applications reach %s is not known", l.Addr())
	}
	if withTLS {
		return "https://" + address.String(), nil
	}
	return "http://" + address.String(), nil
}

// certificate reads the certificate for each handshake, so that a new one takes effect.
// While it cannot be read, the last one goes on.
type certificate struct {
	cert, key string

	mu   sync.Mutex
	last *tls.Certificate
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	read, err := tls.LoadX509KeyPair(c.cert, c.key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.last = &read
	}
	if c.last != nil {
		return c.last, nil
	}
	return nil, err
}

// withTLS wraps a listener.
func withTLS(l net.Listener, cert, key string) (net.Listener, error) {
	c := &certificate{cert: cert, key: key}
	if _, err := c.get(nil); err != nil {
		return nil, fmt.Errorf("the certificate of the proxy: %w", err)
	}
	return tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: []string{"h2", "http/1.1"},
	}), nil
}
