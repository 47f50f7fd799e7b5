package queue

import (
	"os"
	"testing"

	"github.com/pgexthost/pgexthost/plugins/pluginstest"
)

func TestMain(m *testing.M) { os.Exit(pluginstest.Main(m, Library(testHandlers))) }
