/**
 * Runs an example from a clone: `npm run example -- append_header_ip --port 9000`. Without a name, or with a wrong one, it
 * says which there are.
 */
import * as Fs from "node:fs"

const directory = new URL("./", import.meta.url)

const names = Fs.readdirSync(directory).filter((name) => Fs.existsSync(new URL(`${name}/main.ts`, directory)))
  .toSorted()

const [, , name = "", ...args] = process.argv

if (names.includes(name)) {
  process.argv = [process.argv[0]!, `examples/${name}/main.ts`, ...args]
  await import(new URL(`${name}/main.ts`, directory).href)
} else {
  const what = name === "" ? "which example?" : `there is no example ${JSON.stringify(name)};`
  process.stderr.write(`${what} npm run example -- NAME [FLAGS], with a NAME of ${names.join(", ")}\n`)
  process.exitCode = 1
}
