// Command kubernetes is a real Kubernetes API server with the etcd that it
// stores in, for the tests of the examples: no scheduler, no kubelet, nothing
// runs on it. It is a module of its own, so that none of its dependencies become
// the plugin's.
//
//	kubernetes FOLDER FLAGS...
//
// etcd stores in FOLDER and is reached by a socket there; the flags are
// kube-apiserver's.
package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: kubernetes FOLDER FLAGS...")
		os.Exit(2)
	}
	socket, err := etcd(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		os.Exit(1)
	}
	command := app.NewAPIServerCommand()
	command.SetArgs(append([]string{"--etcd-servers", socket}, os.Args[2:]...))
	os.Exit(cli.Run(command))
}

// etcd runs for as long as this process does. It is reached by a socket only: what it
// advertises is for a cluster, and leads nowhere.
func etcd(folder string) (string, error) {
	socket := url.URL{Scheme: "unix", Path: filepath.Join(folder, "etcd.sock")}
	nowhere := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	config := embed.NewConfig()
	config.Dir = filepath.Join(folder, "etcd")
	config.LogLevel = "error"
	config.UnsafeNoFsync = true // nothing here outlives a test
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{socket}, nowhere
	config.ListenPeerUrls, config.AdvertisePeerUrls = nil, nowhere
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	server, err := embed.StartEtcd(config)
	if err != nil {
		return "", err
	}
	<-server.Server.ReadyNotify()
	return socket.String(), nil
}
