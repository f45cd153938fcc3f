// SPDX-License-Identifier: Apache-2.0
// Asks for tasks, cancels and lists them, with amqplib and nothing else.

import { randomUUID } from 'node:crypto'
import amqp from 'amqplib'

const broker = process.env.TASKCTL_BROKER ?? 'amqp://guest:guest@127.0.0.1:5672'
const queue = process.env.TASKCTL_QUEUE ?? 'taskrunner.requests'
const control = process.env.TASKCTL_CONTROL ?? 'taskrunner.control'
const final = ['SUCCESS', 'FAILED', 'CANCELLED']
const patience = 10000 // ms for a first answer
const quiet = 500 // ms after which no other runner will answer

async function submit (channel, replies, program, input = '') {
  const request = { id: randomUUID(), script: program, input: Buffer.from(input).toString('base64') }
  let seen = [0, 0]
  const ended = new Promise(resolve => {
    channel.consume(replies, ({ properties, content }) => {
      // A response may come twice, and one of an earlier run late.
      const { 'x-tr-attempt': attempt = 0, 'x-tr-sequence': sequence = 0 } = properties.headers
      if (attempt < seen[0] || (attempt === seen[0] && sequence <= seen[1])) return
      seen = [attempt, sequence]
      const { status, output } = JSON.parse(content)
      console.log(`${status} ${Buffer.from(output ?? '', 'base64')}`.trim())
      if (final.includes(status)) resolve(status === 'SUCCESS' ? 0 : 1)
    }, { noAck: true })
  })
  const returned = new Promise((_resolve, reject) => {
    channel.once('return', () => reject(new Error(`there is no queue ${queue}`)))
  })
  channel.sendToQueue(queue, Buffer.from(JSON.stringify(request)), {
    contentType: 'application/json',
    persistent: true,
    mandatory: true,
    replyTo: replies,
    headers: { 'x-tr-sent': Date.now() }
  })
  console.log(request.id) // a runner may be faster than the confirm
  await Promise.race([channel.waitForConfirms(), returned])
  return Promise.race([ended, returned])
}

// Puts a question to the runners; `take` gets each answer, and tells whether it was the last.
function ask (channel, replies, message, take) {
  const correlationId = randomUUID()
  return new Promise(resolve => {
    let answered = false
    let timer = setTimeout(() => resolve(false), patience)
    channel.consume(replies, ({ properties, content }) => {
      if (properties.correlationId !== correlationId) return
      answered = true
      clearTimeout(timer)
      if (take(JSON.parse(content))) resolve(true)
      else timer = setTimeout(() => resolve(answered), quiet)
    }, { noAck: true })
    channel.publish(control, '', Buffer.from(JSON.stringify(message)), {
      contentType: 'application/json', replyTo: replies, correlationId
    })
  })
}

// Only the runner that has the task answers.
async function cancel (channel, replies, id) {
  let accepted = false
  const answered = await ask(channel, replies, { op: 'cancel', id }, answer => {
    accepted = answer.result === 'accepted'
    console.log(answer.error ?? `${answer.result} by ${answer.runner}`)
    return true
  })
  if (!answered) console.error('no runner has it')
  return accepted ? 0 : 1
}

// Every runner answers: a record for each task, and then `end`.
async function list (channel, replies) {
  const answered = await ask(channel, replies, { op: 'list' }, answer => {
    if (answer.id) console.log(answer.id, answer.state, answer.program, answer.runner)
    return false
  })
  return answered ? 0 : 1
}

const [verb, ...parameters] = process.argv.slice(2)
const verbs = { submit, cancel, list }
if (!Object.hasOwn(verbs, verb)) {
  console.error('usage: tasks.mjs submit PROGRAM [INPUT] | cancel ID | list')
  process.exit(2)
}
const connection = await amqp.connect(broker)
const channel = await connection.createConfirmChannel()
const { queue: replies } = await channel.assertQueue('', { exclusive: true })
try {
  process.exitCode = await verbs[verb](channel, replies, ...parameters)
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}
await connection.close()
