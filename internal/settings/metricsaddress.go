package settings

import (
	"errors"
	"fmt"
	"net"
	"strconv"
)

// ParseMetricsAddress checks a value of metrics_address, and returns it as
// package net takes it: "*" stands for all addresses. The error is the text of a
// DETAIL.
func ParseMetricsAddress(value string) (string, error) {
	if value == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(value)
	var malformed *net.AddrError
	if errors.As(err, &malformed) {
		return "", fmt.Errorf("It must be \"HOST:PORT\", an IPv6 address in brackets: %s.", malformed.Err) //nolint:staticcheck // the text of a DETAIL
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("The port must be a number from 1 to 65535.") //nolint:staticcheck // the text of a DETAIL
	}
	switch host {
	case "":
		return "", errors.New("The host is missing; \"*\" stands for all addresses.") //nolint:staticcheck // the text of a DETAIL
	case "*":
		host = ""
	}
	return net.JoinHostPort(host, port), nil
}
