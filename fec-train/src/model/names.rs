//! The checkpoint's names of a module's parameters: their paths, without the variants of [`super::Layer`].

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// The path to a parameter.
#[derive(Debug, Default)]
pub(crate) struct Path(Vec<String>);

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.push(name.to_string());
        }
    }

    fn exit(&mut self, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.pop();
        }
    }

    fn name(&self) -> String {
        self.0.join(".")
    }
}

/// Something to do with every parameter of a module and its name.
pub(crate) trait Visit {
    fn param<const D: usize>(&mut self, name: String, param: &Param<Tensor<D>>);
}

/// Shows every parameter to a [`Visit`].
pub(crate) struct Visitor<V> {
    path: Path,
    pub(crate) visit: V,
}

impl<V: Visit> Visitor<V> {
    pub(crate) fn new(visit: V) -> Self {
        Self {
            path: Path::default(),
            visit,
        }
    }
}

impl<V: Visit> ModuleVisitor for Visitor<V> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.visit.param(self.path.name(), param);
    }
}

/// Something to make of every parameter of a module.
pub(crate) trait Replace {
    fn tensor<const D: usize>(&mut self, name: String, tensor: Tensor<D>) -> Tensor<D>;
}

/// Replaces every parameter by what a [`Replace`] makes of it; its id stays.
pub(crate) struct Mapper<R> {
    path: Path,
    pub(crate) replace: R,
}

impl<R: Replace> Mapper<R> {
    pub(crate) fn new(replace: R) -> Self {
        Self {
            path: Path::default(),
            replace,
        }
    }
}

impl<R: Replace> ModuleMapper for Mapper<R> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        param.map(|tensor| {
            let tracked = tensor.is_autodiff();
            let new = self.replace.tensor(name, tensor);
            // A tensor made anew is a leaf of its own.
            if tracked {
                new.detach().require_grad()
            } else {
                new
            }
        })
    }
}
