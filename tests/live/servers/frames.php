<?php
// SPDX-License-Identifier: MIT
// Every sort of frame that PHP has, one of them at a time: ?case=NAME&out=FILE&pid=FILE,
// or NAME FILE as arguments. The innermost function writes PHP's own backtrace to the file, in the words
// of 'reqtrap stacks', and waits on the line that it has written.

function say_and_wait(string $out): void
{
	file_put_contents($out, told(debug_backtrace(DEBUG_BACKTRACE_IGNORE_ARGS), __LINE__)); usleep(60000000);
}

function told(array $trace, int $line): string
{
	$text = "usleep [php]\n";
	$file = __FILE__;
	foreach ($trace as $frame) {
		$included = in_array($frame['function'], ['include', 'require', 'include_once', 'require_once']);
		$name = $included ? 'include' : $frame['function'];
		$class = isset($frame['class']) ? $frame['class'] . '::' : '';
		if ($name == 'eval' || $included) // of two frames PHP shows one: the code, and the call that reads it
			$class = '';
		$text .= "$class$name " . ($file ? "$file:$line" : '[php]') . "\n";
		$file = $frame['file'] ?? null;
		$line = $frame['line'] ?? 0;
	}
	$text .= $file ? "{main} $file:$line\n" : ''; // nothing called what runs at the end
	return preg_replace('/\0[^\n]*?\$[0-9a-f]+(?=::)/', '', $text) . "end\n";
}

class Shop
{
	public function __construct(public string $out)
	{
	}
	public function page(): void
	{
		$this->find();
	}
	private function find(): void
	{
		self::once(
			$this->out
		);
	}
	public static function once(string $out): void
	{
		say_and_wait($out);
	}
	public function __call(string $name, array $rest)
	{
		say_and_wait($this->out);
	}
	public static function __callStatic(string $name, array $rest)
	{
		say_and_wait($rest[0]);
	}
	public function __invoke(int $n)
	{
		say_and_wait($this->out);
	}
	public function __get(string $name)
	{
		say_and_wait($this->out);
	}
	public function __toString(): string
	{
		say_and_wait($this->out);
		return '';
	}
}

class Sale extends Shop
{
	public function page(): void
	{
		parent::page();
	}
}

trait Greets
{
	public function greet(string $out): void
	{
		say_and_wait($out);
	}
}

class Guest implements IteratorAggregate
{
	use Greets;
	public function __construct(private string $out)
	{
	}
	public function getIterator(): Iterator
	{
		say_and_wait($this->out);
		return new ArrayIterator([]);
	}
}

class Leaving
{
	public function __construct(public string $out)
	{
	}
	public function __destruct()
	{
		say_and_wait($this->out);
	}
}

function inner(string $out)
{
	yield 1;
	say_and_wait($out);
	yield 2;
}

function middle(string $out)
{
	yield 0;
	yield from inner($out);
}

function outer(string $out)
{
	yield from middle($out);
}

function down(int $depth, string $out): void
{
	if ($depth == 0)
		say_and_wait($out);
	else
		down($depth - 1, $out);
}

function drain(iterable $all): void
{
	foreach ($all as $one)
		;
}

function run(string $case, string $out): void
{
	switch ($case) {
	case 'plain':
		say_and_wait($out);
		break;
	case 'method':
		(new Sale($out))->page();
		break;
	case 'closure':
		array_map(function ($n) use ($out) {
			say_and_wait($out);
		}, [1, 2]);
		break;
	case 'arrow':
		usort(...[&$GLOBALS['two'], fn ($a, $b) => say_and_wait($out)]);
		break;
	case 'callable':
		call_user_func_array([new Shop($out), 'page'], []);
		break;
	case 'firstclass':
		$call = (new Shop($out))->page(...);
		$call();
		break;
	case 'magic':
		(new Shop($out))->anything(1, 2);
		break;
	case 'static':
		Shop::something($out);
		break;
	case 'invoke':
		array_map(new Shop($out), [1]);
		break;
	case 'get':
		echo (new Shop($out))->unknown;
		break;
	case 'string':
		echo 'x' . new Shop($out);
		break;
	case 'trait':
		(new Guest($out))->greet($out);
		break;
	case 'iterator':
		drain(new Guest($out));
		break;
	case 'destructor':
		$gone = new Leaving($out);
		$gone = null;
		break;
	case 'generator':
		drain(inner($out));
		break;
	case 'delegated':
		drain(outer($out));
		break;
	case 'include':
		include __DIR__ . '/frames_included.php';
		break;
	case 'eval':
		eval("\n\$f = function () use (\$out) {\n say_and_wait(\$out); };\n\$f();");
		break;
	case 'fiber':
		(new Fiber(function () use ($out) {
			say_and_wait($out);
		}))->start();
		break;
	case 'reflection':
		(new ReflectionMethod('Shop', 'page'))->invoke(new Shop($out));
		break;
	case 'anonymous':
		(new class($out) {
			public function __construct(string $out)
			{
				say_and_wait($out);
			}
		});
		break;
	case 'shutdown':
		register_shutdown_function('say_and_wait', $out);
		break;
	case 'deep':
		down(600, $out);
		break;
	}
}

$two = [2, 1];
if (isset($_GET['pid']))
	file_put_contents($_GET['pid'], getmypid());
run($_GET['case'] ?? $argv[1], $_GET['out'] ?? $argv[2]);
