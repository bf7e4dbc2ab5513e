//! Orders the functions of a module so that it compresses well, and leaves out those that say the same as another.
//!
//! A compressor looks back 32 KiB, so what is alike must stand near. Laws: every function keeps its instructions, and
//! only the numbers by which functions are called change, which `wasm-encoder` rewrites wherever they stand. The same
//! module gives the same bytes. What no engine reads (custom sections) is left out.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, VecDeque},
    convert::Infallible,
};

use anyhow::{Context, Error, Result, anyhow};
use wasm_encoder::{
    CodeSection, FunctionSection, Module,
    reencode::{Error as Reencoding, Reencode},
};
use wasmparser::{CodeSectionReader, CustomSectionReader, FunctionSectionReader, Operator, Parser, Payload, TypeRef};

/// How far back a match may be, less what a function in the middle of it takes away.
const WINDOW_BYTES: usize = 18_000;
/// So many bytes in a row are a likeness; fewer are alike by chance.
const LIKENESS_BYTES: usize = 7;
/// What a small function counts for more, so that it does not come first for a few bytes that it shares.
const SMALL_BYTES: usize = 40;
/// So many functions that are called most stand first, apart from how like they are: their numbers have one byte.
const CALLED_MOST: usize = 24;

/// Returns the module in another order.
pub fn ordered(module: &[u8]) -> Result<Vec<u8>> {
    let functions = Functions::of(module)?;
    let same = functions.same()?;
    let order = functions.order(&same)?;
    encoded(module, &Numbers::of(functions.imported, &same, order))
}

/// What is known of a module's functions.
struct Functions<'a> {
    imported: usize,
    types: Vec<u32>,
    bodies: Vec<wasmparser::FunctionBody<'a>>,
}

impl<'a> Functions<'a> {
    fn of(module: &'a [u8]) -> Result<Functions<'a>> {
        let mut functions = Functions { imported: 0, types: Vec::new(), bodies: Vec::new() };
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        functions.imported += usize::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::FunctionSection(section) => {
                    functions.types = section.into_iter().collect::<Result<_, _>>()?;
                }
                Payload::CodeSectionEntry(body) => functions.bodies.push(body),
                _ => (),
            }
        }
        Ok(functions)
    }

    /// Returns for each function the first that says the same: by its bytes, once what they call is the same too.
    fn same(&self) -> Result<Vec<usize>> {
        let mut same: Vec<usize> = (0..self.bodies.len()).collect();
        loop {
            let numbers = Numbers::of(self.imported, &same, (0..self.bodies.len()).collect());
            let (mut first, mut next) = (HashMap::new(), Vec::new());
            for (place, body) in self.bodies.iter().enumerate() {
                let said = (self.types[place], numbers.body(body)?);
                next.push(*first.entry(said).or_insert(place));
            }
            if next == same {
                return Ok(same);
            }
            same = next;
        }
    }

    /// Counts the calls of each function in those that stay.
    fn called(&self, same: &[usize], kept: &[usize]) -> Result<Vec<usize>> {
        let mut called = vec![0; same.len()];
        for place in kept {
            let mut operators = self.bodies[*place].get_operators_reader()?;
            while !operators.eof() {
                if let Operator::Call { function_index } | Operator::ReturnCall { function_index } = operators.read()?
                    && let Some(local) = (function_index as usize).checked_sub(self.imported)
                {
                    called[same[local]] += 1;
                }
            }
        }
        Ok(called)
    }

    /// Returns the places of those that stay, in their new order.
    fn order(&self, same: &[usize]) -> Result<Vec<usize>> {
        let kept: Vec<usize> = (0..same.len()).filter(|place| same[*place] == *place).collect();
        let numbers = Numbers::of(self.imported, same, (0..same.len()).collect());
        let called = self.called(same, &kept)?;
        let mut by_calls = kept.clone();
        by_calls.sort_by_key(|place| (Reverse(called[*place]), *place));
        let rest = by_calls.split_off(CALLED_MOST.min(by_calls.len()));
        let bodies = kept.iter().map(|place| Ok((*place, numbers.body(&self.bodies[*place])?)));
        let mut likeness = Likeness::of(&bodies.collect::<Result<Vec<_>>>()?);
        let mut order = likeness.chain(by_calls);
        order.extend(likeness.chain(rest));
        Ok(order)
    }
}

/// Which byte sequences functions have in common.
struct Likeness {
    /// By place, the numbers of its sequences, each once.
    within: BTreeMap<usize, (usize, Vec<usize>)>,
    /// By the number of a sequence, the places that have it.
    having: Vec<Vec<usize>>,
    /// How often each sequence is in the window.
    near: Vec<usize>,
    /// By place, how many of its sequences are in the window.
    hits: BTreeMap<usize, usize>,
    window: VecDeque<usize>,
    window_bytes: usize,
}

impl Likeness {
    fn of(bodies: &[(usize, Vec<u8>)]) -> Likeness {
        let mut numbers: HashMap<&[u8], usize> = HashMap::new();
        let mut within = BTreeMap::new();
        let mut having: Vec<Vec<usize>> = Vec::new();
        for (place, body) in bodies {
            let mut own = Vec::new();
            for sequence in body.windows(LIKENESS_BYTES) {
                let next = numbers.len();
                let number = *numbers.entry(sequence).or_insert(next);
                if number == having.len() {
                    having.push(Vec::new());
                }
                if having[number].last() != Some(place) {
                    having[number].push(*place);
                    own.push(number);
                }
            }
            within.insert(*place, (body.len(), own));
        }
        let hits = within.keys().map(|place| (*place, 0)).collect();
        let near = vec![0; having.len()];
        Likeness { within, having, near, hits, window: VecDeque::new(), window_bytes: 0 }
    }

    /// Takes one after another of `places`, always that of which the most is near already.
    fn chain(&mut self, mut places: Vec<usize>) -> Vec<usize> {
        let mut order = Vec::new();
        while !places.is_empty() {
            let best = (0..places.len()).max_by_key(|at| {
                let place = places[*at];
                let (bytes, own) = &self.within[&place];
                (self.hits[&place] * 1_000_000 / (own.len() + SMALL_BYTES), *bytes, Reverse(place))
            });
            let Some(best) = best else { break };
            let place = places.swap_remove(best);
            order.push(place);
            self.enter(place);
        }
        order
    }

    fn enter(&mut self, place: usize) {
        let Likeness { within, having, near, hits, window: inside, window_bytes } = self;
        let mut step = |place: usize, enters: bool| {
            let (bytes, own) = &within[&place];
            for number in own {
                if enters {
                    near[*number] += 1
                } else {
                    near[*number] -= 1
                }
                if near[*number] == usize::from(enters) {
                    for other in &having[*number] {
                        let hits = hits.entry(*other).or_default();
                        if enters { *hits += 1 } else { *hits -= 1 }
                    }
                }
            }
            *bytes
        };
        *window_bytes += step(place, true);
        inside.push_back(place);
        while *window_bytes > WINDOW_BYTES
            && let Some(left) = inside.pop_front()
        {
            *window_bytes -= step(left, false);
        }
    }
}

/// The functions' new numbers.
#[derive(Clone)]
struct Numbers {
    order: Vec<usize>,
    by_old: Vec<u32>,
}

impl Numbers {
    fn of(imported: usize, same: &[usize], order: Vec<usize>) -> Numbers {
        let mut by_place = vec![0; same.len()];
        for (number, place) in (imported..).zip(&order) {
            by_place[*place] = number;
        }
        let local = same.iter().map(|place| by_place[*place]);
        let by_old = (0..imported).chain(local).map(|number| u32::try_from(number).unwrap_or(u32::MAX)).collect();
        Numbers { order, by_old }
    }

    /// Returns a function's bytes with the new numbers.
    fn body(&self, body: &wasmparser::FunctionBody<'_>) -> Result<Vec<u8>> {
        let mut numbers = self.clone();
        let mut function = numbers.new_function_with_parsed_locals(body).map_err(unwritten)?;
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            function.instruction(&numbers.parse_instruction(&mut operators).map_err(unwritten)?);
        }
        Ok(function.into_raw_body())
    }
}

impl Reencode for Numbers {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Reencoding<Infallible>> {
        Ok(self.by_old[function as usize])
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Reencoding<Infallible>> {
        let types = section.into_iter().collect::<Result<Vec<u32>, _>>()?;
        for place in &self.order {
            functions.function(types[*place]);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Reencoding<Infallible>> {
        let bodies = section.into_iter().collect::<Result<Vec<_>, _>>()?;
        for place in self.order.clone() {
            self.parse_function_body(code, bodies[place].clone())?;
        }
        Ok(())
    }

    fn parse_custom_section(
        &mut self,
        _: &mut Module,
        _: CustomSectionReader<'_>,
    ) -> Result<(), Reencoding<Infallible>> {
        Ok(())
    }
}

fn encoded(module: &[u8], numbers: &Numbers) -> Result<Vec<u8>> {
    let mut made = Module::new();
    numbers.clone().parse_core_module(&mut made, Parser::new(0), module).map_err(unwritten)?;
    let made = made.finish();
    wasmparser::Validator::new().validate_all(&made).context("the module in its new order is none")?;
    Ok(made)
}

fn unwritten(error: Reencoding<Infallible>) -> Error {
    anyhow!("a module that cannot be written again: {error}")
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        CodeSection, ConstExpr, ElementSection, Elements, ExportKind, ExportSection, Function, FunctionSection, Module,
        RefType, TableSection, TableType, TypeSection, ValType,
    };

    use super::ordered;

    /// Makes a module of functions that return a number, or what another one returns; all are exported and in a table.
    fn module(functions: &[(i32, Option<u32>)]) -> Vec<u8> {
        let (mut types, mut declared, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
        let (mut exports, mut elements, mut tables) =
            (ExportSection::new(), ElementSection::new(), TableSection::new());
        types.ty().function([], [ValType::I32]);
        for (at, (number, calls)) in (0_u32..).zip(functions) {
            declared.function(0);
            exports.export(&format!("f{at}"), ExportKind::Func, at);
            let mut body = Function::new([]);
            match calls {
                Some(other) => body.instructions().call(*other).end(),
                None => body.instructions().i32_const(*number).end(),
            };
            code.function(&body);
        }
        let all: Vec<u32> = (0_u32..).take(functions.len()).collect();
        let size = all.len() as u64;
        let element_type = RefType::FUNCREF;
        tables.table(TableType { element_type, minimum: size, maximum: None, table64: false, shared: false });
        elements.active(None, &ConstExpr::i32_const(0), Elements::Functions(all.into()));
        let mut module = Module::new();
        module.section(&types).section(&declared).section(&tables).section(&exports).section(&elements).section(&code);
        module.finish()
    }

    /// Says what each export returns, by following the calls, and what stands at each place of the table.
    fn said(module: &[u8]) -> (Vec<(String, i32)>, Vec<i32>, usize) {
        let (mut bodies, mut exports, mut table) = (Vec::new(), Vec::new(), Vec::new());
        for payload in wasmparser::Parser::new(0).parse_all(module) {
            match payload.unwrap() {
                wasmparser::Payload::CodeSectionEntry(body) => {
                    bodies.push(body.get_operators_reader().unwrap().read().unwrap());
                }
                wasmparser::Payload::ExportSection(section) => {
                    exports.extend(
                        section.into_iter().map(|export| export.unwrap()).map(|e| (e.name.to_owned(), e.index)),
                    );
                }
                wasmparser::Payload::ElementSection(section) => {
                    for element in section {
                        let wasmparser::ElementItems::Functions(items) = element.unwrap().items else { panic!() };
                        table.extend(items.into_iter().map(|item| item.unwrap()));
                    }
                }
                _ => (),
            }
        }
        let value = |mut function: u32| loop {
            match &bodies[function as usize] {
                wasmparser::Operator::Call { function_index } => function = *function_index,
                wasmparser::Operator::I32Const { value } => return *value,
                other => panic!("{other:?}"),
            }
        };
        let exported = exports.into_iter().map(|(name, function)| (name, value(function))).collect();
        (exported, table.into_iter().map(value).collect(), bodies.len())
    }

    #[test]
    fn every_name_and_every_place_of_the_table_says_what_it_said_sdk_01() {
        let before = module(&[(7, None), (0, Some(4)), (900, None), (0, Some(0)), (1_000_000, None), (0, Some(1))]);
        let after = ordered(&before).unwrap();
        assert_ne!(before, after);
        assert_eq!(said(&after), said(&before));
        assert_eq!(ordered(&before).unwrap(), after, "the same module gives the same bytes");
    }

    #[test]
    fn functions_that_say_the_same_are_one_and_so_are_those_that_call_them_sdk_01() {
        let before = module(&[(7, None), (7, None), (0, Some(0)), (0, Some(1)), (8, None)]);
        let ((names, table, functions), (names_before, table_before, _)) =
            (said(&ordered(&before).unwrap()), said(&before));
        assert_eq!((names, table, functions), (names_before, table_before, 3));
    }
}
