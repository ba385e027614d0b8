// Generate writes the Go code of the contract in proto/ipam/v1 into ipamv1, without a protoc on the machine:
// it compiles the files itself and hands them to the generators that go.mod pins as tools.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// The contract, and the package that its code goes into; both as seen from the module's folder.
const (
	contract    = "../../../proto"
	goPackage   = "example/leases/ipamv1"
	destination = "ipamv1"
)

func main() {
	if err := generate(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func generate() error {
	request, err := compile()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(destination, 0o755); err != nil {
		return err
	}
	for _, generator := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		if err := run(generator, request); err != nil {
			return fmt.Errorf("%s: %w", generator, err)
		}
	}
	return nil
}

// compile gives what a generator is asked: the files of the contract, after those that they import.
func compile() ([]byte, error) {
	paths, err := filepath.Glob(filepath.Join(contract, "ipam/v1/*.proto"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no contract in %s/ipam/v1: run it in the folder of go.mod", contract)
	}
	request := &pluginpb.CodeGeneratorRequest{}
	options := []string{"paths=source_relative"}
	for _, path := range paths {
		name := strings.TrimPrefix(filepath.ToSlash(path), contract+"/")
		request.FileToGenerate = append(request.FileToGenerate, name)
		options = append(options, "M"+name+"="+goPackage)
	}
	request.Parameter = proto.String(strings.Join(options, ","))
	sources := &protocompile.SourceResolver{ImportPaths: []string{contract}}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(sources),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), request.FileToGenerate...)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, file := range files {
		request.ProtoFile = appendFile(request.ProtoFile, file, seen)
	}
	return proto.Marshal(request)
}

func appendFile(
	files []*descriptorpb.FileDescriptorProto, file protoreflect.FileDescriptor, seen map[string]bool,
) []*descriptorpb.FileDescriptorProto {
	if seen[file.Path()] {
		return files
	}
	seen[file.Path()] = true
	imports := file.Imports()
	for i := range imports.Len() {
		files = appendFile(files, imports.Get(i).FileDescriptor, seen)
	}
	return append(files, protoutil.ProtoFromFileDescriptor(file))
}

// run asks one generator and writes what it answers.
func run(generator string, request []byte) error {
	command := exec.Command("go", "tool", generator)
	command.Stdin = bytes.NewReader(request)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return err
	}
	response := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(output, response); err != nil {
		return err
	}
	if response.Error != nil {
		return errors.New(*response.Error)
	}
	for _, file := range response.File {
		path := filepath.Join(destination, filepath.Base(file.GetName()))
		if err := os.WriteFile(path, []byte(file.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
