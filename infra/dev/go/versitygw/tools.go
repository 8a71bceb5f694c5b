//go:build tools

// Package tools pins the Versity S3 gateway, so that set-up can build it where no official release can be downloaded.
package tools

import _ "github.com/versity/versitygw/cmd/versitygw"
