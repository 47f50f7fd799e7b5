package main

import "github.com/pgexthost/pgexthost/plugins"

func main() { plugins.Main(library()) }
