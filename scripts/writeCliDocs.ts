/**
 * Writes what the program prints into docs/operate/cli.md, for which it starts Postfix, opendkim, rspamd and clamav-milter. With --check it says
 * whether the flags of the commands are up to date there; what other people's filters print, test/interop looks at.
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as cli from "./docs/cli.ts"
import { fill } from "./docs/fill.ts"

const text = Fs.readFileSync(cli.page, "utf8")

if (process.argv.includes("--check")) {
  if (fill(text, cli.help()) !== text) {
    console.error("docs/operate/cli.md is out of date: run npm run docs:cli")
    process.exitCode = 1
  }
} else {
  Fs.writeFileSync(cli.page, fill(text, await Effect.runPromise(Effect.scoped(cli.sections))))
}
