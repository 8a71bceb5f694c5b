//go:build tools

// Package tools pins the Temporal CLI, which carries the dev server and the UI, so that set-up can build it where no
// official release can be downloaded. Versions later than v1.5.1 do not build as a dependency: their go.mod replaces
// a local module.
package tools

import _ "github.com/temporalio/cli/cmd/temporal"
