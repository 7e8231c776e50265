/** Whether a server of this process had to cut its drain short; the exit code shows it. */
let overrun = false

export const markOverrun = (): void => {
  overrun = true
}

export const wasOverrun = (): boolean => overrun
