package settings_test

import (
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestMetricsAddressIsAHostAndAPort(t *testing.T) {
	for value, want := range map[string]struct{ address, detail string }{
		"":                      {},
		"localhost:9187":        {address: "localhost:9187"},
		"127.0.0.1:1":           {address: "127.0.0.1:1"},
		"[::1]:65535":           {address: "[::1]:65535"},
		"*:9187":                {address: ":9187"},
		"[fe80::1%eth0]:9187":   {address: "[fe80::1%eth0]:9187"},
		":9187":                 {detail: `The host is missing; "*" stands for all addresses.`},
		"localhost":             {detail: `It must be "HOST:PORT", an IPv6 address in brackets: missing port in address.`},
		"::1:9187":              {detail: `It must be "HOST:PORT", an IPv6 address in brackets: too many colons in address.`},
		"localhost:0":           {detail: "The port must be a number from 1 to 65535."},
		"localhost:65536":       {detail: "The port must be a number from 1 to 65535."},
		"localhost:http":        {detail: "The port must be a number from 1 to 65535."},
		"localhost:":            {detail: "The port must be a number from 1 to 65535."},
		"http://localhost:9187": {detail: `It must be "HOST:PORT", an IPv6 address in brackets: too many colons in address.`},
	} {
		address, _ := settings.ParseMetricsAddress(value)
		err := guc.NewStore(settings.Definitions()...).Override(settings.MetricsAddress, value)
		if want.detail == "" {
			if err != nil || address != want.address {
				t.Errorf("%q: got %q, %v", value, address, err)
			}
			continue
		}
		e := elog.AsErrorData(err, elog.Error)
		if e == nil || e.Code != elog.InvalidParameterValue || e.Message != `invalid value for parameter "metrics_address": "`+value+`"` || e.Detail != want.detail {
			t.Errorf("%q: got %+v", value, e)
		}
	}
}
