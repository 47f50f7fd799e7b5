package call_test

import "strconv"

func itoa(n int) string { return strconv.Itoa(n) }

const launch = "SELECT pgexthost.launch_now('lib', 'main', main_arg => "
