/** The version of the package. */
import * as Fs from "node:fs"

// The same relative path from src/cli and from dist/cli.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own package.json
export const { version } = JSON.parse(Fs.readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  readonly version: string
}
