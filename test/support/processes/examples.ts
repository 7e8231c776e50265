/**
 * Runs examples with the command lines of its argument (JSON), one after the other in this process, since it is its start
 * that takes time. Prints what each would have: exit code, standard output, standard error. An example that starts to serve
 * has no exit code, and is the last.
 */
import { captured } from "./captured.ts"

const commands = JSON.parse(process.argv[2]!) as ReadonlyArray<readonly [name: string, ...args: ReadonlyArray<string>]>

const results: Array<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> = []

const exit = process.exit.bind(process)

for (const [index, [name, ...args]] of commands.entries()) {
  process.argv = [process.argv[0]!, `examples/${name}/main.ts`, ...args]
  let end: (code: number | null) => void = () => undefined
  const ended = new Promise<number | null>((resolve) => {
    end = resolve
  })
  // A cast: the caller of `process.exit` does not count on it to return, but here it does.
  process.exit = ((code?: number) => end(code ?? 0)) as typeof process.exit
  const stdout = captured(process.stdout)
  const stderr = captured(process.stderr, (text) => text.includes("listens on") && end(null))
  // Another address is another module: what the file does is done anew, what it imports is not.
  await import(new URL(`../../../examples/${name}/main.ts?${index}`, import.meta.url).href)
  const code = await ended
  results.push({ code, stdout: stdout(), stderr: stderr() })
  if (code === null) break
}
process.stdout.write(JSON.stringify(results), () => exit(0))
