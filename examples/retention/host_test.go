package main

const asHost = "RETENTION_AS_HOST"

func beHost() {}
