/**
 * Runs the command lines of its argument (JSON) one after the other in this process, since it is its start that takes time.
 * Prints what each would have: exit code, standard output, standard error.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import { program } from "../../../src/cli/program.ts"
import { captured } from "./captured.ts"

const commands = JSON.parse(process.argv[2]!) as ReadonlyArray<ReadonlyArray<string>>

const results: Array<{ readonly code: number; readonly stdout: string; readonly stderr: string }> = []
for (const args of commands) {
  const stdout = captured(process.stdout)
  const stderr = captured(process.stderr)
  const exit = await Effect.runPromiseExit(Effect.provide(program(args, "0.0.0"), NodeServices.layer))
  results.push({
    code: Exit.isSuccess(exit) ? 0 : Runtime.getErrorExitCode(Cause.squash(exit.cause)),
    stdout: stdout(),
    stderr: stderr()
  })
}
process.stdout.write(JSON.stringify(results))
