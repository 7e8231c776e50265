// The filter of the comparison on go-milter: a hook at every stage the library has (none at DATA), the last one adds a header.
package main

import (
	"log"
	"net"
	"net/textproto"
	"os"
	"strings"

	"github.com/emersion/go-milter"
)

type filter struct {
	length int
}

func (*filter) Connect(string, string, uint16, net.IP, *milter.Modifier) (milter.Response, error) {
	return milter.RespContinue, nil
}

func (*filter) Helo(string, *milter.Modifier) (milter.Response, error) {
	return milter.RespContinue, nil
}

func (f *filter) MailFrom(sender string, _ *milter.Modifier) (milter.Response, error) {
	f.length = 0
	if strings.HasSuffix(sender, "@spam.example") {
		return milter.RespReject, nil
	}
	return milter.RespContinue, nil
}

func (*filter) RcptTo(string, *milter.Modifier) (milter.Response, error) {
	return milter.RespContinue, nil
}

func (f *filter) Header(_ string, value string, _ *milter.Modifier) (milter.Response, error) {
	f.length += len(value)
	return milter.RespContinue, nil
}

func (*filter) Headers(textproto.MIMEHeader, *milter.Modifier) (milter.Response, error) {
	return milter.RespContinue, nil
}

func (f *filter) BodyChunk(chunk []byte, _ *milter.Modifier) (milter.Response, error) {
	f.length += len(chunk)
	return milter.RespContinue, nil
}

func (*filter) Body(edit *milter.Modifier) (milter.Response, error) {
	if err := edit.AddHeader("X-Benchmark", "yes"); err != nil {
		return nil, err
	}
	return milter.RespContinue, nil
}

func main() {
	// unix:PATH or inet:PORT@HOST, as libmilter writes it.
	kind, rest, _ := strings.Cut(os.Args[1], ":")
	network, address := "unix", rest
	if kind == "inet" {
		port, host, _ := strings.Cut(rest, "@")
		network, address = "tcp", net.JoinHostPort(host, port)
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		log.Fatal(err)
	}
	server := milter.Server{
		NewMilter: func() milter.Milter { return &filter{} },
		Actions:   milter.OptAddHeader,
	}
	log.Fatal(server.Serve(listener))
}
