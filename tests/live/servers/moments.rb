# SPDX-License-Identifier: MIT
# Goes down a way by chance through methods, blocks and methods in C, and waits at its end for
# a line from the pipe ARGV[0]. Another thread writes where it waits to ARGV[1]: the number of
# the moment, then innermost first 'method file:line'.
PIPE = File.open(ARGV[0], "r+")
CHANCE = Random.new(Integer(ARGV[2]))
$moment = 0

def wait_here
  $moment += 1
  PIPE.gets
end

def down(depth)
  return wait_here if depth.zero?

  case CHANCE.rand(4)
  when 0
    down(depth - 1)
  when 1
    [depth].each { |n| down(n - 1) }
  when 2
    1.times do
      [1].map do |x|
        down(depth - x)
      end
    end
  else
    begin
      { depth: depth }.each_pair do |_, n|
        send(:down, n - 1)
      end
    ensure
      depth.to_s
    end
  end
end

main = Thread.current
Thread.new do
  told = 0
  loop do
    Thread.pass until $moment > told && main.status == "sleep"
    told = $moment
    File.write("#{ARGV[1]}.new", "#{told}\n" + main.backtrace_locations.map { |l| "#{l.label} #{l.path}:#{l.lineno}\n" }.join)
    File.rename("#{ARGV[1]}.new", ARGV[1])
  end
end
loop { down(CHANCE.rand(30)) }
