// Command millrace-test-cluster is a Kubernetes control plane for tests: the real etcd, kube-apiserver, kube-scheduler and
// kube-controller-manager in one binary, each started as a process of its own. Nodes and running pods come from KWOK.
//
//	millrace-test-cluster etcd DIRECTORY CLIENT_URL PEER_URL
//	millrace-test-cluster apiserver|scheduler|controller-manager FLAGS...
//
// Flags are those of the Kubernetes program of that name.
package main

import (
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

const usage = "usage: millrace-test-cluster etcd DIRECTORY CLIENT_URL PEER_URL | apiserver|scheduler|controller-manager FLAGS..."

func main() {
	if len(os.Args) < 2 {
		fail(usage)
	}
	program, arguments := os.Args[1], os.Args[2:]
	// Each takes its flags from here.
	os.Args = append([]string{program}, arguments...)
	switch program {
	case "etcd":
		if err := etcd(arguments); err != nil {
			fail(err.Error())
		}
	case "apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "scheduler":
		os.Exit(cli.Run(scheduler.NewSchedulerCommand()))
	case "controller-manager":
		os.Exit(cli.Run(controllers.NewControllerManagerCommand()))
	default:
		fail(usage)
	}
}

func etcd(arguments []string) error {
	if len(arguments) != 3 {
		return fmt.Errorf("%s", usage)
	}
	client, err := url.Parse(arguments[1])
	if err != nil {
		return fmt.Errorf("the client URL: %w", err)
	}
	peer, err := url.Parse(arguments[2])
	if err != nil {
		return fmt.Errorf("the peer URL: %w", err)
	}
	config := embed.NewConfig()
	config.Dir = arguments[0]
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.LogLevel = "warn"
	// Tests end with the store; what a power cut would do to it is not their subject.
	config.UnsafeNoFsync = true
	server, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("etcd did not start: %w", err)
	}
	defer server.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	select {
	case err := <-server.Err():
		return err
	case <-stop:
		return nil
	}
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(1)
}
