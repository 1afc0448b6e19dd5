# SPDX-License-Identifier: MIT
# Threads that stand still in known places; once they do, their own backtraces go to the
# file named on the command line: 'thread', then innermost first 'method file:line'.
class Shop
  def find(queue)
    [queue].each do |q|
      10.times.map { |n| n.to_s }.join(
        ","
      )
      q.pop
    end
  end
end

def locked(mutex)
  mutex.synchronize { sleep }
end

def waits(mutex)
  mutex.lock
end

mutex = Mutex.new
queue = Queue.new
reader, = IO.pipe
threads = [Thread.new { Shop.new.find(queue) }, Thread.new { locked(mutex) }]
Thread.pass until mutex.locked?
threads << Thread.new { waits(mutex) } << Thread.new { reader.read(1) } << Thread.new { sleep(600) }
Thread.pass until threads.all? { |t| t.status == "sleep" }

File.open("#{ARGV[0]}.new", "w") do |out|
  threads.each do |t|
    out.puts "thread"
    t.backtrace_locations.each { |l| out.puts "#{l.label} #{l.path}:#{l.lineno}" }
  end
end
File.rename("#{ARGV[0]}.new", ARGV[0])
sleep
